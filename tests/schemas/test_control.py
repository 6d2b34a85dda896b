"""Control records: signatures that hold, tampering that shows, chains that do not fork, keys that stay private."""

from pathlib import Path

import pytest

from schemas import control
from schemas.codec import read, write
from schemas.errors import ChainError, ConfigurationError, DecodeError, SignatureError

KEY = control.SigningKey.of(bytes(range(32)))
OTHER = control.SigningKey.of(bytes(range(1, 33)))
KEYS = {KEY.key_id: KEY.public}
MESSAGE = control.config_record("east", 1, b"", b"d" * 32, KEY)


def test_a_signed_record_verifies_and_is_always_the_same_bytes() -> None:
    """Fields come back, and signing again gives the same message: a repeat can be told."""
    record = control.verify("config_record", MESSAGE, KEYS)
    assert (record["site"], record["version"], record["document"], record["key_id"]) == (
        "east",
        1,
        b"d" * 32,
        KEY.key_id,
    )
    assert control.config_record("east", 1, b"", b"d" * 32, KEY) == MESSAGE


def test_every_signed_contract_signs_and_verifies() -> None:
    """Settle and engine records and meter facts carry the same kind of signature."""
    settle = control.settle_record("east", 1, 0, 10, "late data", KEY)
    engine = control.engine_record(1, 2, KEY)
    registers = [{"point": 3, "final": 10, "initial": 0, "numerator": None, "denominator": None, "span": None}]
    fact = {
        "site": "east",
        "event_id": "e",
        "meter": "M",
        "kind": "swapped",
        "at_ms": 5,
        "registers": registers,
        "comment": "",
        "serial_before": "",
        "serial": "",
        "replaces": "",
    }
    assert control.verify("settle_record", settle, KEYS)["reason"] == "late data"
    assert control.verify("engine_record", engine, KEYS)["engine"] == 2
    assert control.verify("meter_fact", control.sign("meter_fact", fact, KEY), KEYS)["registers"] == registers


@pytest.mark.parametrize("at", range(10, len(MESSAGE)))
def test_any_changed_byte_is_refused(at: int) -> None:
    """No byte of the body can be changed: it is no record any more, or its signature does not hold."""
    changed = MESSAGE[:at] + bytes([MESSAGE[at] ^ 1]) + MESSAGE[at + 1 :]
    with pytest.raises((SignatureError, DecodeError)):
        control.verify("config_record", changed, KEYS)


def test_unsigned_and_foreign_signatures_are_refused() -> None:
    """Only keys that are named may sign, and a signature is needed."""
    fields = read("config_record", MESSAGE)
    with pytest.raises(SignatureError, match="is not signed"):
        control.verify("config_record", write("config_record", {**fields, "key_id": "", "signature": b""}), KEYS)
    with pytest.raises(SignatureError, match=f"signed by key {OTHER.key_id}"):
        control.verify("config_record", control.config_record("east", 1, b"", b"d" * 32, OTHER), KEYS)
    with pytest.raises(SignatureError, match="does not hold"):
        control.verify(
            "config_record", write("config_record", {**fields, "key_id": OTHER.key_id}), {OTHER.key_id: OTHER.public}
        )


def test_another_encoding_of_the_same_fields_is_refused() -> None:
    """An array may be cut into blocks at will in Avro; a signed fact has one encoding, so that a repeat can be told."""
    registers = [
        {"point": point, "final": None, "initial": 1, "numerator": None, "denominator": None, "span": None}
        for point in (3, 4)
    ]
    fact = {
        "site": "e",
        "event_id": "e",
        "meter": "M",
        "kind": "reset",
        "at_ms": 5,
        "registers": registers,
        "comment": "",
        "serial_before": "",
        "serial": "",
        "replaces": "",
    }
    message = control.sign("meter_fact", fact, KEY)
    block = bytes([4, *(6, 0, 2, 2, 0, 0, 0), *(8, 0, 2, 2, 0, 0, 0), 0])
    cut = message.replace(block, bytes([2, *block[1:8], 2, *block[8:]]))
    assert cut != message
    assert read("meter_fact", cut) == read("meter_fact", message)
    with pytest.raises(SignatureError, match="not encoded as it was signed"):
        control.verify("meter_fact", cut, KEYS)


def test_the_chain_has_no_hole_no_repeat_and_no_fork() -> None:
    """A config record follows exactly the version and document before it."""
    second = read("config_record", control.config_record("east", 2, b"d" * 32, b"e" * 32, KEY))
    control.check_chain(read("config_record", MESSAGE), 0, b"")
    control.check_chain(second, 1, b"d" * 32)
    for version, document in ((0, b""), (2, b"d" * 32), (1, b"x" * 32)):
        with pytest.raises(ChainError):
            control.check_chain(second, version, document)


def test_the_key_of_a_profile_is_made_once_and_private(tmp_path: Path) -> None:
    """The first call makes a key that only its owner can read; later calls find it; it never shows."""
    folder = tmp_path / "profile"
    first = control.signing_key(folder)
    file = folder / control.KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert control.signing_key(folder).public == first.public
    assert file.read_text().strip() not in repr(first)
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize(
    ("mode", "text", "reason"), [(0o644, "00" * 32, "read by others"), (0o600, "00", "holds no signing key")]
)
def test_a_bad_key_file_is_refused(tmp_path: Path, mode: int, text: str, reason: str) -> None:
    """A key that others can read, or a file that is none, stops everything; it is never replaced."""
    file = tmp_path / control.KEY_FILE
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=reason):
        control.signing_key(tmp_path)
    assert file.read_text() == text
