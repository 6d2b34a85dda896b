"""Control records: what the log says about itself. Built, signed, verified, checked against the record before.

`config`, `settle` and `engine` records and meter facts carry a signature: Ed25519 over the Avro message with an empty
signature. The keys that may sign for a site are in its document; the first config of a site names them, and every
later one must be signed by a key of the document before it. Ticks are not signed.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.codec import Value, read, write
from schemas.errors import ChainError, ConfigurationError, SignatureError

SIGNED: Final = ("config_record", "settle_record", "engine_record", "meter_fact")
"""Contracts that end with `key_id` and `signature`."""

KEY_FILE: Final = "signing.key"
KEY_BYTES: Final = 32


@dataclass(frozen=True)
class SigningKey:
    """A private key and its names.

    Attributes:
        key_id: first 16 hex digits of the sha256 of the public key.
        public: public key, hex, as documents hold it.
        private: the key; it prints as nothing.
    """

    key_id: str
    public: str
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    @classmethod
    def of(cls, secret: bytes) -> "SigningKey":
        """The key of 32 secret bytes."""
        private = Ed25519PrivateKey.from_private_bytes(secret)
        public = private.public_key().public_bytes_raw()
        return cls(hashlib.sha256(public).hexdigest()[:16], public.hex(), private)


def signing_key(folder: Path) -> SigningKey:
    """The signing key of a profile; made at the first call, readable by its owner only (0600).

    Args:
        folder: data folder of the profile (`schemas.settings.data_home`).

    Raises:
        ConfigurationError: the file cannot be read or made, is open to others, or holds no key.
    """
    file = folder / KEY_FILE
    try:
        if not file.exists():
            _make_key(folder, file)
        mode = file.stat().st_mode
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the signing key {file} cannot be read or made: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(f"the signing key {file} can be read by others; chmod 600 it, and find out who did")
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigurationError(
            f"{file} holds no signing key; put the right file back, or other keys cannot be told from thieves"
        )
    return SigningKey.of(secret)


def _make_key(folder: Path, file: Path) -> None:
    """Whole or not at all, and never over an existing one: two that start at once end with one key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{KEY_FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def sign(contract: str, record: Mapping[str, object], key: SigningKey) -> bytes:
    """The message of a record, signed. Equal records give equal bytes: Ed25519 signatures are deterministic.

    Args:
        contract: one of `SIGNED`.
        record: its fields; `key_id` and `signature` are filled in here.
        key: who signs.

    Raises:
        DecodeError: the record does not fit the contract.
    """
    unsigned = {**record, "key_id": key.key_id, "signature": b""}
    return write(contract, {**unsigned, "signature": key.private.sign(write(contract, unsigned))})


def verify(contract: str, message: bytes, keys: Mapping[str, str]) -> dict[str, Value]:
    """The fields of a signed message.

    Args:
        contract: one of `SIGNED`.
        message: header, fields and signature.
        keys: key id → public key, hex: who may sign.

    Raises:
        DecodeError: the bytes do not keep the contract.
        SignatureError: unsigned, signed by a key that may not, or not what was signed.
    """
    record = read(contract, message)
    key_id, signature = cast("str", record["key_id"]), cast("bytes", record["signature"])
    if not key_id or not signature:
        raise SignatureError(f"{contract} is not signed")
    public = keys.get(key_id)
    if public is None:
        raise SignatureError(
            f"{contract} is signed by key {key_id}, which may not; known are {', '.join(sorted(keys)) or 'none'}"
        )
    # Only the canonical encoding verifies: an array that is cut into other blocks is another message with the same
    # fields.
    if write(contract, record) != message:
        raise SignatureError(f"{contract} is not encoded as it was signed")
    try:
        verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        verifier.verify(signature, write(contract, {**record, "signature": b""}))
    except (InvalidSignature, ValueError):
        raise SignatureError(f"{contract}: the signature of key {key_id} does not hold") from None
    return record


def config_record(
    site: str, version: int, previous: bytes, document: bytes, key: SigningKey, effective_ms: int = 0
) -> bytes:
    """The message that puts a document into force for a site.

    Args:
        site: site id.
        version: 1, 2, 3 … per site.
        previous: sha256 of the document before; empty for version 1.
        document: sha256 of the document.
        key: who signs.
        effective_ms: when it takes effect, UTC, milliseconds since 1970; 0: at its offset.
    """
    fields = {
        "site": site, "version": version, "previous": previous, "document": document, "effective_ms": effective_ms
    }  # fmt: skip
    return sign("config_record", fields, key)


def settle_record(site: str, sequence: int, from_ms: int, to_ms: int, reason: str, key: SigningKey) -> bytes:
    """The message that starts a settlement of a span of a site; `sequence` counts from 1 per site."""
    fields = {"site": site, "sequence": sequence, "from_ms": from_ms, "to_ms": to_ms, "reason": reason}
    return sign("settle_record", fields, key)


def engine_record(sequence: int, engine: int, key: SigningKey) -> bytes:
    """The message from which on another release computes a partition; `sequence` counts from 1 per partition."""
    return sign("engine_record", {"sequence": sequence, "engine": engine}, key)


def check_chain(record: Mapping[str, Value], version: int, document: bytes) -> None:
    """Checks that a config record follows the one before it.

    Args:
        record: fields of the new one.
        version: of the one before; 0: there is none.
        document: sha256 that the one before named; empty: there is none.

    Raises:
        ChainError: it does not follow: a repeat, a hole, or another history.
    """
    site, new, previous = record["site"], cast("int", record["version"]), cast("bytes", record["previous"])
    if new != version + 1:
        raise ChainError(f"config version {new} of {site!r} comes after version {version}")
    if previous != document:
        names = ", not ".join(sha256.hex() or "nothing" for sha256 in (previous, document))
        raise ChainError(f"config version {new} of {site!r} follows {names}")
