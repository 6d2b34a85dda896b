"""Meter facts, from their message to what the kernels apply: who may say it, whether it can be, which rows it is of.

A fact whose time lies before a point's clock is *late*: what was published stays, the span is marked for settlement by
a verdict (`late_fact`), and what the fact says of the time to come (multiplier, width) holds from the clock on. Any
other fact waits for a reading that passes its time (`kernels.meters`).

In the order of events the result is exact, and that is what settlement computes. Let all facts that `standing` leaves
wait from the start (`waiting`, `preload`), and feed each point's readings in the order of their time, of those of one
time only the last one in the log. Then no reading and no fact is late, each fact is applied between the readings that
it lies between, whenever it was told, and a point's rows sum to its pieces, to the unit. `Processor.adopt`,
`Processor.expect` and `Processor.feed` are that run for whole sites; rows of other facts than those that the task took
in (`Processor.facts_taken`) are no part of it.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from processors.layout import COUNTER_MAX, FUTURE_MS, REGISTER, Layout
from processors.state import (
    FACT,
    FINAL,
    INITIAL,
    INSTALLED,
    MULTIPLIER,
    NEVER,
    RATIO,
    REMOVED,
    RESET,
    SEEN,
    SWAPPED,
    UNRECORDED,
    WAITS,
    WIDTH,
    WIDTH_CHANGED,
    StateArrays,
)
from schemas import codec
from schemas.control import verify
from schemas.errors import SignatureError
from schemas.model.document import LIMITS, Document
from schemas.reasons import Reason

KINDS: Final = ("installed", "swapped", "multiplier", "width", "reset", "removed")
"""In the order of the contract; their places are the kinds of FACT."""

RATIO_MAX: Final = 1 << 31
"""Numerator and denominator of a multiplier are below this: ratios of transformers have four digits."""
YEAR_2000_MS: Final = 946_684_800_000

_NEEDS: Final = {INSTALLED: INITIAL, SWAPPED: 0, MULTIPLIER: RATIO, WIDTH_CHANGED: WIDTH, RESET: 0, REMOVED: 0}
_WHOLE: Final = (INSTALLED, SWAPPED, MULTIPLIER, REMOVED)
"""What happens to a meter and not to one register: such a fact names all of its registers."""


class Refused(Exception):
    """A fact that cannot be applied, and why."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclasses.dataclass(frozen=True)
class Fact:
    """A fact that may be applied.

    Attributes:
        event: `event_key`.
        content: the same of its bytes.
        meter: the same of its site and meter.
        replaced: `event_key` of the fact in whose place it comes; 0: of none.
        at: when it happened, UTC ms.
        rows: FACT, one a register.
        registers: rows of all registers of the meter.
    """

    event: int
    content: int
    meter: int
    replaced: int
    at: int
    rows: NDArray[np.void]
    registers: NDArray[np.int64]


def _key(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"\0".join(parts)).digest()[:8], "little")


def event_key(site: str, event_id: str) -> int:
    """Name of a fact: eight bytes of the sha256 of its site and event_id."""
    return _key(site.encode(), event_id.encode())


def read(message: bytes, layout: Layout, clock_ms: int) -> Fact:
    """The fact that a message says, checked against the model.

    Args:
        message: of the contract `meter_fact`.
        layout: must have the site.
        clock_ms: the task's clock.

    Raises:
        DecodeError: the bytes do not keep the contract.
        Refused: nobody who may has signed it, or it says what cannot be.
    """
    fields = codec.read("meter_fact", message)
    site = str(fields["site"])
    document = layout.documents[site]
    if not fields["key_id"] or not fields["signature"]:
        raise Refused(Reason.UNSIGNED)
    try:
        verify("meter_fact", message, document.keys)
    except SignatureError as error:
        raise Refused(Reason.BAD_SIGNATURE, str(error)) from error
    at, kind = cast("int", fields["at_ms"]), KINDS.index(str(fields["kind"]))
    if at < YEAR_2000_MS:
        raise Refused(Reason.TOO_OLD)
    if at > clock_ms + _ahead(layout, document, kind):
        raise Refused(Reason.FUTURE)
    if not fields["event_id"]:
        raise Refused(Reason.BAD_FACT, "without event_id a repeat cannot be told")
    replaced = str(fields["replaces"])
    said = cast("list[dict[str, int | None]]", fields["registers"])
    if not said and not replaced:
        raise Refused(Reason.BAD_FACT, "it names no register")
    owned = _registers(document, str(fields["meter"]))
    event = event_key(site, str(fields["event_id"]))
    index = layout.sites.index(site)
    rows = np.array([_row(register, kind, at, event, index, layout) for register in said], FACT)
    if len(np.unique(rows["row"])) != len(rows):
        raise Refused(Reason.BAD_FACT, "it names a register twice")
    registers = {row for number in owned if (row := _place(number, index, layout)) >= 0}
    missing = registers - set(rows["row"].tolist())
    if said and kind in _WHOLE and missing:
        names = ", ".join(str(layout.arrays.meta["number"][row]) for row in sorted(missing))
        raise Refused(Reason.BAD_FACT, f"all registers of a meter change together; it leaves out points {names}")
    content, meter = _key(message), _key(site.encode(), str(fields["meter"]).encode())
    everywhere = sorted(registers | set(rows["row"].tolist()))
    return Fact(
        event, content, meter, event_key(site, replaced) if replaced else 0, at, rows, np.array(everywhere, np.int64)
    )  # fmt: skip


def _ahead(layout: Layout, document: Document, kind: int) -> int:
    """How long before it happens a fact may be told; what ends a meter is told when it has."""
    if kind == REMOVED:
        return int(layout.arrays.limits[layout.sites.index(document.site), FUTURE_MS])
    return document.limits.get("fact_ahead_ms", LIMITS["fact_ahead_ms"])


def _registers(document: Document, meter: str) -> list[int]:
    """Numbers of the points that the registers of a meter feed."""
    if meter not in document.registers:
        raise Refused(Reason.UNKNOWN_METER, meter)
    return document.registers[meter]


def _place(number: int, site: int, layout: Layout) -> int:
    start, end = layout.arrays.number_start[site : site + 2]
    return int(layout.arrays.number_row[start + number]) if 0 <= number < end - start else -1


def _row(register: dict[str, int | None], kind: int, at: int, event: int, site: int, layout: Layout) -> tuple[int, ...]:
    number = cast("int", register["point"])
    row = _place(number, site, layout)
    if row < 0:
        raise Refused(Reason.UNKNOWN_POINT, f"point {number}")
    if layout.arrays.meta["kind"][row] != REGISTER:
        raise Refused(Reason.BAD_FACT, f"point {number} is no register")
    final, initial, span = register["final"], register["initial"], register["span"]
    numerator, denominator = register["numerator"], register["denominator"]
    if kind == RESET and initial is None:
        initial = 0
    if kind in (MULTIPLIER, WIDTH_CHANGED) and final is None:
        final = initial  # the same register goes on
    has = (final is not None) * FINAL | (initial is not None) * INITIAL | (span is not None) * WIDTH
    has |= (numerator is not None) * RATIO
    for name, value, low, high in (
        ("final", final, 0, COUNTER_MAX),
        ("initial", initial, 0, COUNTER_MAX),
        ("span", span, 1, COUNTER_MAX),
        ("numerator", numerator, 1, RATIO_MAX - 1),
        ("denominator", denominator, 1, RATIO_MAX - 1),
    ):
        if value is not None and not low <= value <= high:
            raise Refused(Reason.BAD_FACT, f"{name} of point {number} is {value}, not {low} to {high}")
    if (numerator is None) != (denominator is None):
        raise Refused(Reason.BAD_FACT, f"the multiplier of point {number} is half a fraction")
    if has & _NEEDS[kind] != _NEEDS[kind]:
        raise Refused(Reason.BAD_FACT, f"{KINDS[kind]} needs more about point {number}")
    if kind == REMOVED and has & ~FINAL:
        raise Refused(Reason.BAD_FACT, f"of a meter that is removed only the final value of point {number} can be told")
    return (row, kind, has, 0, 0, at, final or 0, initial or 0, numerator or 0, denominator or 0, span or 0, event)


# -- the state --------------------------------------------------------------------------------------------------------


def repeats(state: StateArrays, fact: Fact) -> bool:
    """Whether a fact of that name is known already.

    Raises:
        Refused: it said something else, or a new one is to replace a fact of another meter.
    """
    known = state.seen[state.seen["event"] == np.uint64(fact.event)]
    if not len(known):
        replaced = _replaced(state, fact)
        if len(replaced) and int(replaced["meter"][0]) != fact.meter:
            raise Refused(Reason.BAD_FACT, "what it replaces was said of another meter; only that meter's own can")
        return False
    if int(known["content"][0]) != fact.content:
        raise Refused(Reason.BAD_FACT, "another fact has the same event_id; to correct one, send one that replaces it")
    return True


def _replaced(state: StateArrays, fact: Fact) -> NDArray[np.void]:
    """The fact in whose place it comes, of SEEN; empty where none of that name has come."""
    return state.seen[state.seen["event"] == np.uint64(fact.replaced)] if fact.replaced else state.seen[:0]


def take_in(state: StateArrays, fact: Fact) -> tuple[StateArrays, list[tuple[int, int, int]]]:
    """The state that knows a fact.

    Returns:
        (state, (row, time, value) of every register for which it comes late).
    """
    seen = np.array([(fact.event, fact.content, fact.meter, fact.at)], SEEN)
    waiting, late = state.facts, []
    points = state.points
    touched = fact.rows["row"].tolist()
    replaced = _replaced(state, fact)
    if len(replaced):
        gone = waiting["event"] == np.uint64(fact.replaced)
        touched += waiting["row"][gone].tolist()
        waiting = waiting[~gone]
        for row in fact.registers.tolist():
            since = int(replaced["at"][0])
            if since < points["clock"][row]:
                late.append((row, since, 0))
    for said in fact.rows:
        row = int(said["row"])
        first, stop = _places_of(waiting, row)
        own = waiting[first:stop]
        same = first + np.flatnonzero((own["at"] == fact.at) & (own["kind"] == said["kind"]))
        if len(same):
            waiting = np.delete(waiting, same)
        if fact.at < points["clock"][row]:
            late.append((row, fact.at, int(said["initial"] if said["has"] & INITIAL else said["final"])))
            if said["kind"] not in (MULTIPLIER, WIDTH_CHANGED):
                points["flags"][row] &= ~UNRECORDED
            continue
        if fact.at < points["pend_time"][row]:
            late.append((row, fact.at, int(said["initial"] if said["has"] & INITIAL else said["final"])))
        # After everything of the same row and time: in the order of arrival.
        place = first + int(np.searchsorted(waiting["at"][first : stop - len(same)], fact.at, "right"))
        waiting = np.concatenate([waiting[:place], said[None], waiting[place:]])
    for row, since, _ in late:
        points["dirty_from"][row] = min(int(points["dirty_from"][row]), since)
        points["dirty_to"][row] = max(int(points["dirty_to"][row]), int(points["clock"][row]))
    for row in touched:  # and no others: the time that a fact takes must not grow with the points
        first, stop = _places_of(waiting, row)
        points["flags"][row] = (points["flags"][row] & ~WAITS) | (WAITS if stop > first else 0)
    return state._replace(facts=waiting, seen=np.concatenate([state.seen, seen])), late


def _places_of(waiting: NDArray[np.void], row: int) -> tuple[int, int]:
    """Where the facts of a point lie among those that wait."""
    first, stop = np.searchsorted(waiting["row"], np.array([row, row + 1], np.int32)).tolist()
    return first, stop


def mark_waiting(state: StateArrays) -> None:
    """Sets the flag of exactly the points for which a fact waits."""
    state.points["flags"][:] &= ~WAITS
    state.points["flags"][state.facts["row"]] |= WAITS


def without_applied(state: StateArrays) -> StateArrays:
    """The state without the facts that the kernels have applied."""
    made = state._replace(facts=state.facts[state.facts["done"] == 0])
    mark_waiting(made)
    return made


def adopted(state: StateArrays, fact: Fact) -> NDArray[np.void]:
    """Rows of a late fact: its multiplier and width hold from the clock on (`kernels.meters.adopt_late`)."""
    rows: NDArray[np.void] = fact.rows[fact.at < state.points["clock"][fact.rows["row"]]]
    return rows


# -- the order of events ----------------------------------------------------------------------------------------------


def standing(messages: Iterable[bytes]) -> list[bytes]:
    """The facts that count when everything is known: each once, and none that a later one has replaced.

    Args:
        messages: of the contract `meter_fact` that were not rejected, in the order of the log.

    Returns:
        Those that stand, ordered by the time at which they happened and then by the log.
    """
    found: dict[tuple[str, str], tuple[int, int, bytes]] = {}
    gone: set[tuple[str, str]] = set()
    for place, message in enumerate(messages):
        fields = codec.read("meter_fact", message)
        site = str(fields["site"])
        if (site, str(fields["replaces"])) in found:
            gone.add((site, str(fields["replaces"])))
        found.setdefault((site, str(fields["event_id"])), (cast("int", fields["at_ms"]), place, message))
    return [message for key, (_, _, message) in sorted(found.items(), key=lambda item: item[1][:2]) if key not in gone]


def waiting(messages: Iterable[bytes], layout: Layout) -> NDArray[np.void]:
    """Facts as rows of FACT of a layout, as the kernels want them.

    Args:
        messages: of the contract `meter_fact`; see `standing`.
        layout: sites, points and registers that it does not have are left out.

    Returns:
        By row, time and the order of the messages; of those of one row, time and kind the last one.
    """
    found: dict[tuple[int, int, int], tuple[int, ...]] = {}
    for message in messages:
        fields = codec.read("meter_fact", message)
        site = str(fields["site"])
        if site not in layout.sites:
            continue
        kind, at = KINDS.index(str(fields["kind"])), cast("int", fields["at_ms"])
        event, index = event_key(site, str(fields["event_id"])), layout.sites.index(site)
        for register in cast("list[dict[str, int | None]]", fields["registers"]):
            try:
                row = _row(register, kind, at, event, index, layout)
            except Refused:
                continue
            found.pop((row[0], at, kind), None)
            found[(row[0], at, kind)] = row
    rows = np.array(list(found.values()), FACT)
    return rows[np.lexsort((rows["at"], rows["row"]))]


def preload(state: StateArrays, rows: NDArray[np.void]) -> StateArrays:
    """The state in which facts wait from the start on.

    Args:
        state: points that have been read keep what waits for them (`transfer` brings it along).
        rows: of `waiting`.
    """
    fresh = rows[state.points["clock"][rows["row"]] == NEVER]
    kept = state.facts[state.points["clock"][state.facts["row"]] != NEVER]
    joined = np.concatenate([kept, fresh])
    made = state._replace(facts=joined[np.argsort(joined["row"], kind="stable")])
    mark_waiting(made)
    return made
