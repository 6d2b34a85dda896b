"""Bytes that nobody should send: cut at every byte, flipped at every bit, spliced, random, and made after the grammar.

Each is decoded equal to an oracle or refused; nothing crashes, and no memory or time goes beyond what is set here. The
oracle of cold messages is fastavro, which is asked only about bytes that were accepted (it dies of others); that of
batches and of rows is a slow reader. Run in a process of its own, because a crash must be seen by somebody:

    python -m tests.fault.hostile --count 1000000 --seed 1
"""

import argparse
import dataclasses
import io
import json
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import fastavro

from processors.advance import Processor
from schemas import codec, decode_rows
from schemas.decode import Columns, M, Status, batch_header, decode_batches
from schemas.encode_rows import text, varint
from schemas.errors import DecodeError
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS
from tests.processors.world import T0, config, document, library, point
from tests.support.oracle import batches

MEMORY_BYTES: Final = 1 << 30
"""More than the process has at the start, and no message may need it."""
SECONDS_MAX: Final = 20
"""For one slab of messages or a hundred single ones."""
SLAB: Final = 256
EDGES: Final = (0, 1, -1, 63, 64, -64, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 53, (1 << 63) - 1, -(1 << 63))
OVERLONG: Final = (b"\x80\x00", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01", b"\xff" * 11)


@dataclasses.dataclass
class Fuzzed:
    """What came of hostile messages."""

    hostile: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Fuzzed") -> None:
        """Adds those of another process."""
        self.hostile += other.hostile
        self.accepted += other.accepted
        self.refused += other.refused
        self.crashes += other.crashes
        self.wrong += other.wrong

    def disagrees(self, what: str, message: bytes) -> None:
        """Two readers say different things."""
        if len(self.wrong) < 20:
            self.wrong.append(f"{what}: {message[:200].hex()}")


# -- messages ---------------------------------------------------------------------------------------------------------


def valid(kind: Any, chance: random.Random) -> Any:
    """A value that keeps a schema."""
    if isinstance(kind, list):
        return valid(chance.choice(kind), chance)
    if isinstance(kind, str):
        return _primitive(kind, chance)
    if kind["type"] == "record":
        return {field["name"]: valid(field["type"], chance) for field in kind["fields"]}
    if kind["type"] == "enum":
        return chance.choice(kind["symbols"])
    return [valid(kind["items"], chance) for _ in range(chance.choice((0, 1, 1, 2, 5)))]


def _primitive(kind: str, chance: random.Random) -> Any:
    if kind == "null":
        return None
    if kind == "boolean":
        return chance.random() < 0.5
    if kind == "string":
        return "".join(chance.choice("aé电\0'<=") for _ in range(chance.choice((0, 1, 3, 12))))
    if kind == "bytes":
        return chance.randbytes(chance.choice((0, 1, 8, 32)))
    limit = 31 if kind == "int" else 63
    fitting = [edge for edge in EDGES if -(1 << limit) <= edge < 1 << limit]
    return chance.choice(fitting) if chance.random() < 0.5 else chance.randrange(-(1 << 20), 1 << 20)


def grammatical(kind: Any, chance: random.Random, out: bytearray) -> None:
    """A body after the grammar of a schema, in which any number, length, count or index may be a lie."""
    lie = chance.random() < 0.06
    if isinstance(kind, list):
        index = chance.randrange(len(kind))
        out += varint(chance.choice((-1, len(kind), 9, 1 << 40))) if lie else varint(index)
        grammatical(kind[index], chance, out)
    elif isinstance(kind, str):
        _lying_primitive(kind, chance, lie, out)
    elif kind["type"] == "record":
        for field in kind["fields"]:
            grammatical(field["type"], chance, out)
    elif kind["type"] == "enum":
        out += varint(chance.choice((-1, len(kind["symbols"]), 99)) if lie else chance.randrange(len(kind["symbols"])))
    else:
        _lying_array(kind["items"], chance, lie, out)


def _lying_primitive(kind: str, chance: random.Random, lie: bool, out: bytearray) -> None:
    if kind == "null":
        return
    if kind == "boolean":
        out.append(chance.choice((2, 7, 255)) if lie else chance.randrange(2))
    elif kind in ("string", "bytes"):
        if lie:
            out += chance.choice((varint(-5), varint(1 << 40), varint((1 << 63) - 1), varint(3) + b"\xff\xfe\xfd"))
        else:
            out += text(str(_primitive("string", chance)))
    else:
        out += chance.choice(OVERLONG) if lie else varint(_primitive(kind, chance))


def _lying_array(items: Any, chance: random.Random, lie: bool, out: bytearray) -> None:
    for _ in range(chance.choice((0, 1, 2))):
        count = chance.choice((1, 2, 3))
        if lie:
            count = chance.choice((1 << 62, -(1 << 62), -(1 << 63), 10**8, 70_000))
        if chance.random() < 0.2:
            body = bytearray()
            for _ in range(min(abs(count), 3)):
                grammatical(items, chance, body)
            size = chance.choice((0, -1, 1 << 40)) if chance.random() < 0.3 else len(body)
            out += varint(-abs(count)) + varint(size) + body
            continue
        out += varint(count)
        for _ in range(min(abs(count), 3)):
            grammatical(items, chance, out)
    out += varint(0)


def messages(name: str, chance: random.Random) -> Iterator[bytes]:
    """Hostile messages of a contract, for ever: every cut and every flip of a valid one, then others like it."""
    head = codec.header(name)
    while True:
        good = codec.write(name, valid(codec.schema(name), chance))
        size = min(len(good), 600)
        yield from (good[:cut] for cut in range(size))
        for bit in range(8 * size):
            flipped = bytearray(good)
            flipped[bit // 8] ^= 1 << bit % 8
            yield bytes(flipped)
        for _ in range(size):
            body = bytearray()
            grammatical(codec.schema(name), chance, body)
            yield head + bytes(body)
        for _ in range(size):
            yield _spliced(good, head, chance)


def _spliced(good: bytes, head: bytes, chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return head + chance.randbytes(chance.choice((1, 5, 40, 300)))
    if kind == 1:
        return good + chance.randbytes(chance.choice((1, 2, 9)))
    at, length = chance.randrange(len(head), len(good) + 1), chance.randrange(1, 9)
    middle = chance.choice(OVERLONG) if kind == 2 else chance.randbytes(length)
    return good[:at] + middle + good[at + length * (kind == 3) :]


# -- readers ----------------------------------------------------------------------------------------------------------


def cold(name: str, message: bytes, found: Fuzzed) -> None:
    """The strict reader against fastavro, and the kernel of rows against the strict reader."""
    try:
        value: Any = codec.read(name, message)
    except DecodeError:
        value = None
    if value is None:
        found.refused += 1
    else:
        found.accepted += 1
        raw = io.BytesIO(message[codec.HEADER_BYTES :])
        theirs = fastavro.schemaless_reader(raw, fastavro.parse_schema(codec.schema(name)), None)
        if theirs != value or raw.read():
            found.disagrees(f"fastavro reads another {name}", message)
        # An array may be cut into blocks in many ways; for anything else there is one way to write it.
        if '"array"' not in json.dumps(codec.schema(name)) and codec.write(name, value) != message:
            found.disagrees(f"{name} is accepted and would be written otherwise", message)
    if name in decode_rows.CONTRACTS:
        _rows(name, message, value, found)


def _rows(name: str, message: bytes, value: Any, found: Fuzzed) -> None:
    try:
        rows = decode_rows.read_rows(name, message)
    except DecodeError:
        rows = None
    if (rows is None) != (value is None) and not (value is not None and _beyond_rows(name, value)):
        found.disagrees(f"the kernel of {name} and the strict reader do not agree", message)
    elif rows is not None and value is not None and len(rows.matrix) != len(value["rows"]):
        found.disagrees(f"the kernel of {name} has another number of rows", message)


def _beyond_rows(name: str, value: Any) -> bool:
    """Whether the kernel has a reason of its own to refuse: a row that names no site."""
    del name
    sites = len(value["sites"])
    return any(not 0 <= row["site"] < sites for row in value["rows"])


class Hot:
    """The kernel of batches against the slow oracle, and a whole processor over the same messages."""

    def __init__(self) -> None:
        self._columns = Columns.empty(readings=65_536)
        self._magic = batch_header()
        one = document([point(1), point(2, kind="register", unit="Wh", role="energy", interval_s=900)])
        self._processor = Processor(METER_READINGS, 0, library(one).__getitem__)
        self._processor.advance(Slab.of(METER_READINGS, 0, [(0, T0, b"s1", config(one))]))
        self._offset = 1

    def take(self, listed: list[bytes], found: Fuzzed) -> None:
        """A slab of batches."""
        slab = Slab.of(METER_READINGS, 0, [(n, T0, b"s1", value) for n, value in enumerate(listed)])
        c, at = self._columns, 0
        while at < len(listed):
            done, count, _ = decode_batches(
                slab.data,
                slab.spans,
                at,
                len(listed),
                self._magic,
                c.messages,
                c.points,
                c.times,
                c.values,
                c.qualities,
            )
            for row in range(count):
                self._compare(listed[int(c.messages[row, M.RECORD])], row, found)
            done = int(done)
            if done == at:
                found.refused += 1  # no batch: not even its header
                done += 1
            at = done

    def _compare(self, message: bytes, row: int, found: Fuzzed) -> None:
        c = self._columns
        status, batch = batches.decode(message)
        ours = int(c.messages[row, M.STATUS])
        if ours != status:
            found.disagrees(f"batch has status {ours}, the oracle says {status}", message)
        if ours != Status.OK:
            found.refused += 1
            return
        found.accepted += 1
        first, count = int(c.messages[row, M.FIRST]), int(c.messages[row, M.COUNT])
        part = slice(first, first + count)
        columns = (c.points[part], c.times[part], c.values[part], c.qualities[part])
        if list(zip(*(column.tolist() for column in columns), strict=True)) != [tuple(r) for r in batch["readings"]]:
            found.disagrees("a batch is read otherwise", message)

    def process(self, listed: list[bytes]) -> None:
        """A slab of anything, through a processor: it goes on, whatever it was given."""
        rows = [(self._offset + n, T0 + n, b"s1", value) for n, value in enumerate(listed)]
        self._offset += len(listed)
        self._processor.advance(Slab.of(METER_READINGS, 0, rows))
        self._processor.take()


def fuzz(count: int, seed: int, seconds_max: int = SECONDS_MAX) -> Fuzzed:
    """So many hostile messages, spread over all contracts; a slab that takes too long ends the process."""
    chance, found, hot = random.Random(seed), Fuzzed(), Hot()
    sources = {name: messages(name, chance) for name in codec.CONTRACTS}
    names = [*codec.CONTRACTS, *["meter_batch"] * (len(codec.CONTRACTS) // 2)]
    mixed: list[bytes] = []
    while found.hostile < count:
        for name in names:
            signal.alarm(seconds_max)
            listed = [next(sources[name]) for _ in range(SLAB)]
            found.hostile += len(listed)
            for message in listed if name != "meter_batch" else ():
                cold(name, message, found)
            if name == "meter_batch":
                hot.take(listed, found)
            if name not in ("config_record", "engine_record"):  # what names documents and releases is not for strangers
                mixed += listed[::8]
        chance.shuffle(mixed)
        signal.alarm(seconds_max)
        hot.process(mixed)
        mixed.clear()
    signal.alarm(0)
    return found


def apart(count: int, seed: int, timeout_s: float) -> Fuzzed:
    """The same in a process of its own, with a bound on memory; its death is a crash."""
    command = [sys.executable, "-m", "tests.fault.hostile", "--count", str(count), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        return Fuzzed(crashes=1, wrong=[f"seed {seed} ended with {done.returncode}: {done.stderr[-2000:]}"])
    return Fuzzed(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Returns the exit status: 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault.hostile")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fuzz(1, 0, 600)  # the kernels are loaded
    has = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115, PTH123
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY_BYTES, has + MEMORY_BYTES))
    found = fuzz(arguments.count, arguments.seed)
    sys.stdout.write(json.dumps(dataclasses.asdict(found)) + "\n")
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
