"""What rules cost on a site: instances, memory, looks; and the smallest leak that a meter shows."""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from processors.layout_build import build
from processors.state import INSTANCE, PART, TRACK, WINDOW
from schemas import topics
from schemas.model.document import Document
from schemas.rules.instances import compile_rules
from schemas.rules.parsed import parse_rules
from schemas.rules.program import WINDOW as A_WINDOW
from schemas.rules.program import CompiledRules, cell_ms
from schemas.rules.subjects import SiteView

CELL_BYTES = 16
DAY_MS = 86_400_000


@dataclasses.dataclass
class Cost:
    """What one rule costs on one site.

    Attributes:
        rule: its name.
        topic: whose events it reads.
        instances: subjects that it runs on.
        points: that it reads.
        state_bytes: of its instances and of what they count as wasted.
        past_bytes: rings of what it looks back at; one that rules share counts for each of them.
        looks_per_day: at most: readings of its points, and cells of what it looks back at.
    """

    rule: str
    topic: str
    instances: int = 0
    points: int = 0
    state_bytes: int = 0
    past_bytes: int = 0
    looks_per_day: int = 0


@dataclasses.dataclass(frozen=True)
class Leak:
    """The smallest steady flow that a rule can see at a point.

    Attributes:
        rule: its name.
        point: id.
        litres_per_h: None where neither q1 nor pulse is in the model.
        because: q1, pulse, or what is not known.
    """

    rule: str
    point: str
    litres_per_h: Fraction | None
    because: str


def costs(document: Document) -> list[Cost]:
    """Costs of all rules of a site, in the order of the packs; rules without a subject cost nothing and are listed.

    Raises:
        ModelError: rules that `check` would have refused.
    """
    found: list[Cost] = []
    for topic in topics.INPUTS:
        found += _of_topic(document, topic)
    named = {cost.rule for cost in found}
    return found + [Cost(one.rule.alert, "") for one in parse_rules(document) if one.rule.alert not in named]


def total_past_bytes(document: Document) -> int:
    """Bytes of all rings of a site, shared ones once."""
    layouts = [build(topic, {document.site: document}, {document.site: 1}) for topic in topics.INPUTS]
    return sum(
        layout.cells * CELL_BYTES
        + len(layout.arrays.track_infos) * TRACK.itemsize
        + len(layout.arrays.window_infos) * WINDOW.itemsize
        for layout in layouts
    )


def _of_topic(document: Document, topic: str) -> list[Cost]:
    compiled = compile_rules(document, topic)
    arrays = build(topic, {document.site: document}, {document.site: 1}).arrays
    found: dict[str, Cost] = {}
    meta = arrays.meta
    row_of = {int(number): row for row, number in enumerate(meta["number"].tolist())}
    for instance, rule in enumerate(compiled.inst_rule.tolist()):
        cost = found.setdefault(compiled.names[rule], Cost(compiled.names[rule], topic))
        rows = _rows(compiled, instance, row_of)
        parts = int(compiled.waste_start[instance + 1] - compiled.waste_start[instance])
        windows = [
            int(index)
            for sort, index in compiled.look_refs[compiled.look_start[instance] : compiled.look_start[instance + 1], :2]
            if sort == A_WINDOW
        ]
        cost.instances += 1
        cost.points += len(rows)
        cost.state_bytes += INSTANCE.itemsize + parts * PART.itemsize
        for window in windows:
            info = arrays.window_infos[window]
            tracks = arrays.lists[info["tracks"] : info["tracks_end"], 0]
            cells = int(info["length"]) + len(tracks) * int(info["span"])
            cost.past_bytes += cells * CELL_BYTES + WINDOW.itemsize + len(tracks) * TRACK.itemsize
            cost.looks_per_day += DAY_MS // int(info["cell_ms"])
        intervals = meta["interval_ms"][rows]
        cost.looks_per_day += int(np.sum(DAY_MS // intervals[intervals > 0]))
    return list(found.values())


def _rows(compiled: CompiledRules, instance: int, row_of: dict[int, int]) -> list[int]:
    slots = [slot for slot in compiled.inst_slot[instance].tolist() if slot >= 0]
    numbers = {
        number
        for slot in slots
        for number in compiled.slot_points[compiled.slot_start[slot] : compiled.slot_start[slot + 1]].tolist()
    }
    return sorted(row_of[number] for number in numbers if number in row_of)


def smallest_leaks(document: Document) -> Iterator[Leak]:
    """For every rule over a bucket of a water meter: what the meter must count in a bucket, or at all.

    A pulse per bucket is the least that shows as a flow without a pause; below q1 a meter need not count at all
    (GB/T 778.1: q1 is its minimum flow).
    """
    compiled = compile_rules(document, topics.METER_READINGS)
    view, meters = SiteView(document), _meters(document)
    by_number = {point.number: point for point in view.points.values()}
    bucket_ms = cell_ms(document.interval_s)
    seen: set[tuple[str, str]] = set()
    for instance, rule in enumerate(compiled.inst_rule.tolist()):
        refs = compiled.look_refs[compiled.look_start[instance] : compiled.look_start[instance + 1], :2]
        for index in refs[refs[:, 0] == A_WINDOW, 1].tolist():
            slot = int(compiled.win_slot[index])
            hours = Fraction(int(compiled.win_args[index, 3]) * bucket_ms, 3_600_000)
            for number in compiled.slot_points[compiled.slot_start[slot] : compiled.slot_start[slot + 1]].tolist():
                point = by_number[number]
                if point.role == "water" and (compiled.names[rule], point.id) not in seen:
                    seen.add((compiled.names[rule], point.id))
                    yield Leak(compiled.names[rule], point.id, *_least(meters.get(point.id), hours))


def _least(meter: tuple[Fraction | None, Fraction | None] | None, hours: Fraction) -> tuple[Fraction | None, str]:
    q1, pulse = meter or (None, None)
    by_pulse = pulse / hours if pulse is not None else None
    known = [(value, name) for value, name in ((q1, "q1"), (by_pulse, "pulse")) if value is not None]
    return max(known) if known else (None, "neither q1 nor pulse nor resolution of its meter is in the model")


def _meters(document: Document) -> dict[str, tuple[Fraction | None, Fraction | None]]:
    """Point → (q1, litres of a pulse or of the last digit) of the meter that is installed at it."""
    meters, installs = document.table("meters"), document.table("meter_install")
    points = document.table("points")
    litres = {"m3": Fraction(1000), "L": Fraction(1), "mL": Fraction(1, 1000)}
    unit = dict(zip(points.get("id", []), points.get("unit", []), strict=True))
    found: dict[str, tuple[Fraction | None, Fraction | None]] = {}
    rows = {name: place for place, name in enumerate(meters.get("id", []))}

    def cell(column: str, place: int) -> Fraction | None:
        value = (meters.get(column) or [None] * len(rows))[place]
        return Fraction(str(value)) if value not in (None, "") else None

    for point, meter in zip(installs.get("point", []), installs.get("meter", []), strict=True):
        if meter not in rows:
            continue
        q1, pulses, resolution = (cell(name, rows[meter]) for name in ("q1", "pulse", "resolution"))
        size = litres.get(str(unit.get(point)), Fraction(0))
        step = size / pulses if pulses else (resolution * size if resolution else None)
        found[str(point)] = (q1 * 1000 if q1 is not None else None, step or None)
    return found
