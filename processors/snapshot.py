"""A processor's state as bytes, and back: a pure function of the log and an offset.

Layout: the length of a JSON header (uint32), the header, then the arrays one after another, little-endian. What comes
back is validated before a kernel sees it: a snapshot is a cache, and a wrong one is refused, not believed.
"""

import json
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.advance import Builder, Documents, Processor
from processors.layout import DAY_MS, GAUGE, REGISTER, Layout
from processors.layout_build import build
from processors.migrations import HEADERS, LAYOUTS, migrated
from processors.state import (
    CLOSED,
    CLOSING,
    ENGINE,
    FACT,
    FIRING,
    INSTANCE,
    NEVER,
    PART,
    POINT,
    RATIO,
    REMOVED,
    SCALARS,
    SCALED,
    SEEN,
    SENSE,
    TIMERS,
    TOLD,
    TRACK,
    WAITS,
    WINDOW,
    StateArrays,
    empty_state,
)
from schemas.canonical import STREAMS, Chain
from schemas.errors import ContractError

_ARRAYS: Final[tuple[tuple[str, np.dtype[Any]], ...]] = (
    ("scalars", np.dtype("<i8")),
    ("points", POINT),
    ("instances", INSTANCE),
    ("parts", PART),
    ("queue", np.dtype("<i4")),
    ("facts", FACT),
    ("seen", SEEN),
    ("senses", SENSE),
    ("tracks", TRACK),
    ("windows", WINDOW),
    ("cells", np.dtype((np.dtype("<i8"), (2,)))),
)

CELL_INDEX_MAX: Final = 1 << 45
"""Beyond every time that a reading can have, in cells of a quarter of an hour or more; sums of two stay in int64."""


def save(processor: Processor) -> bytes:
    """The state after all messages before `processor.position`; the outbox must have been taken."""
    assert processor.outbox.rows == 0, "rows that nobody has taken are not part of a snapshot"
    header = {
        "engine": ENGINE,
        "topic": processor.topic,
        "partition": processor.partition,
        "position": processor.position,
        "sites": {site: [version, sha.hex()] for site, (version, sha) in sorted(processor.heads.items())},
        "settlements": dict(sorted(processor.settlements.items())),
        "chains": {
            name: [chain.count, chain.tip.hex(), chain.rest.hex()] for name, chain in processor.outbox.chains.items()
        },
        "lengths": [len(getattr(processor.state, name)) for name, _ in _ARRAYS],
    }
    raw = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join(
        [struct.pack("<I", len(raw)), raw, *(getattr(processor.state, name).tobytes() for name, _ in _ARRAYS)]
    )


def load(
    raw: bytes, topic: str, partition: int, documents: Documents, builder: Builder = build, engine: int = ENGINE
) -> Processor:
    """The processor that `save` was given; a state of an older engine becomes one of this.

    Args:
        raw: what `save` gave.
        topic: input topic, without prefix.
        partition: of it.
        documents: finds those that were in force.
        builder: makes layouts.
        engine: that saved it.

    Raises:
        ContractError: the bytes are not a state of this task and engine.
    """
    try:
        (size,) = struct.unpack_from("<I", raw)
        header = {**HEADERS.get(engine, {}), **json.loads(raw[4 : 4 + size])}
        if [header["engine"], header["topic"], header["partition"]] != [engine, topic, partition]:
            raise ContractError(f"snapshot of {header['topic']}/{header['partition']}, engine {header['engine']}")
        processor = Processor(topic, partition, documents, builder)
        processor.heads = {site: (int(version), bytes.fromhex(sha)) for site, (version, sha) in header["sites"].items()}
        processor.settlements = {site: int(sequence) for site, sequence in header["settlements"].items()}
        for name in STREAMS:
            count, tip, rest = header["chains"][name]
            processor.outbox.chains[name] = Chain(int(count), bytes.fromhex(tip), bytes.fromhex(rest))
        kept = _arrays(raw, 4 + size, header["lengths"], _ARRAYS if engine == ENGINE else LAYOUTS[engine])
        processor.position = int(header["position"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise ContractError(f"snapshot cannot be read: {error}") from error
    found = {site: documents(sha) for site, (_, sha) in processor.heads.items()}
    layout = builder(topic, found, {site: version for site, (version, _) in processor.heads.items()})
    arrays = layout.arrays
    sizes = (len(arrays.meta), len(arrays.rules), len(arrays.part_row), len(arrays.senses))
    past = (len(arrays.track_infos), len(arrays.window_infos), layout.cells)
    state = migrated(engine, kept, empty_state(*sizes, *past) if engine != ENGINE else StateArrays(**kept), layout)
    _validate(state, len(arrays.meta), len(arrays.rules), len(arrays.part_row))
    _validate_senses(state.senses, len(arrays.senses))
    _validate_past(state, layout)
    _validate_points(state, arrays.meta)
    _validate_facts(state, arrays.meta)
    processor.restore(layout, state)
    return processor


def _arrays(
    raw: bytes, at: int, lengths: list[int], kinds: tuple[tuple[str, np.dtype[Any]], ...]
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for (name, dtype), length in zip(kinds, lengths, strict=True):
        found[name] = np.frombuffer(raw, dtype, length, at).copy()
        at += length * dtype.itemsize
    if at != len(raw):
        raise ContractError(f"snapshot has {len(raw) - at} bytes too many")
    return found


def _validate(state: StateArrays, points: int, instances: int, parts: int) -> None:
    """Every index that a kernel will follow lies inside its array."""
    if len(state.scalars) != SCALARS or [len(state.points), len(state.instances), len(state.parts)] != [
        points,
        instances,
        parts,
    ]:
        raise ContractError("snapshot does not fit the documents that it names")
    timers = int(state.scalars[TIMERS])
    places = state.instances["place"]
    if not 0 <= timers <= instances or len(state.queue) != max(instances, 1):
        raise ContractError("snapshot has a wrong queue")
    queue = state.queue[:timers]
    if timers and (
        queue.min() < 0
        or queue.max() >= instances
        or not np.array_equal(places[queue], np.arange(timers))
        or int((places >= 0).sum()) != timers
    ):
        raise ContractError("snapshot has a wrong queue")
    phases, opened = state.instances["phase"], state.parts["open"]
    if instances and (phases.min() < 0 or phases.max() > FIRING):
        raise ContractError("snapshot has a wrong phase")
    if parts and (opened.min() < CLOSED or opened.max() > CLOSING):
        raise ContractError("snapshot has a wrong part")


def _validate_past(state: StateArrays, layout: Layout) -> None:
    """Rings have the length that the documents ask for; places in them are taken modulo it, whatever they are."""
    arrays = layout.arrays
    wanted = [len(arrays.track_infos), len(arrays.window_infos), layout.cells]
    if [len(state.tracks), len(state.windows), len(state.cells)] != wanted:
        raise ContractError("snapshot does not fit what its rules look back at")
    levels = arrays.rules["steps_end"] - arrays.rules["steps"]
    if np.any((state.instances["level"] < 0) | (state.instances["level"] > levels)):
        raise ContractError("snapshot has a wrong severity")
    for name, rows in (("cell", state.tracks), ("done", state.windows), ("night", state.windows)):
        times = rows[name]
        if np.any((times != NEVER) & (np.abs(times) > CELL_INDEX_MAX)):
            raise ContractError("snapshot has a wrong cell")
    if np.any((state.windows["last"] < 0) | (state.windows["last"] > CELL_INDEX_MAX)):
        raise ContractError("snapshot has a wrong day")


def _validate_points(state: StateArrays, meta: NDArray[np.void]) -> None:
    """Open intervals end within one interval after their point's clock: a reading makes no more rows than have room."""
    points = state.points
    read = (points["clock"] != NEVER) & np.where(
        meta["kind"] == REGISTER, meta["interval_ms"] < DAY_MS, meta["kind"] >= GAUGE
    )
    ahead_ms = (points["row_to"] - points["clock"])[read]
    if np.any((ahead_ms <= 0) | (ahead_ms > meta["grid_ms"][read])):
        raise ContractError("snapshot has a wrong interval")


def _validate_facts(state: StateArrays, meta: NDArray[np.void]) -> None:
    """Facts are of registers, in their order, flagged, and every multiplier is a fraction."""
    facts, points = state.facts, state.points
    register = meta["kind"] == REGISTER
    if np.any(points["flags"][~register] & TOLD):
        raise ContractError("snapshot has a fact about what is no register")
    scaled = register & (points["flags"] & SCALED != 0)
    numerators, denominators = points["numerator"][scaled], points["denominator"][scaled]
    rest = points["remainder"][scaled]
    if np.any((numerators <= 0) | (denominators <= 0) | (rest < 0) | (rest >= denominators)):
        raise ContractError("snapshot has a wrong multiplier")
    rows, times = facts["row"], facts["at"]
    if len(facts) and (rows.min() < 0 or rows.max() >= len(points) or not register[rows].all()):
        raise ContractError("snapshot has a fact of no register")
    if np.any((np.diff(rows) < 0) | ((np.diff(rows) == 0) & (np.diff(times) < 0))):
        raise ContractError("snapshot has facts in a wrong order")
    if np.any((facts["kind"] < 0) | (facts["kind"] > REMOVED) | (facts["done"] != 0)):
        raise ContractError("snapshot has a wrong fact")
    ratio = facts["has"] & RATIO != 0
    if np.any(ratio & ((facts["numerator"] <= 0) | (facts["denominator"] <= 0))):
        raise ContractError("snapshot has a wrong multiplier")
    waiting = np.zeros(len(points), bool)
    waiting[rows] = True
    if not np.array_equal(waiting, points["flags"] & WAITS != 0):
        raise ContractError("snapshot has facts that nothing points to")


def _validate_senses(senses: NDArray[np.void], count: int) -> None:
    """Estimates are those of the documents; what they hold is no index, and cut where it is used."""
    if len(senses) != count:
        raise ContractError("snapshot does not fit the documents that it names")
    if count and (senses["occupied"].min() < 0 or senses["occupied"].max() > 1):
        raise ContractError("snapshot has a wrong estimate")
