"""A thousand rules on a hundred thousand spaces: what evaluation adds to a reading.

A rule selects the offices of one tag of a hundred. Ten rules are for each tag, as many as a role may have, so every
office is under ten, and there are a million instances. The rules of a tag differ in their threshold; one of them
looks back over half an hour. A hundred offices are lit for nobody: so many alerts must come, and no others.

The same readings go through the step with these rules and without any, slab by slab in turns, so that what else the
machine does falls on both.
"""

import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from ganzhi.bench.advance import TAKE_ROWS
from ganzhi.bench.figure import Bench, Number, Options, Promise, Row
from ganzhi.bench.load import BEGIN_MS, INTERVAL_S, Load
from processors.advance import Processor
from processors.layout import Layout
from processors.layout_build import build
from processors.outputs import Output
from processors.state import READINGS as READINGS_APPLIED
from schemas import codec
from schemas.encode import encode_batch
from schemas.model.document import LIMITS, Document
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

RULES: Final = 1_000
SPACES: Final = 100_000
PER_SPACE: Final = 10
"""Rules that an office is under, one of which looks back."""
PER_GATEWAY: Final = 500
FORGOTTEN: Final = 1_000
"""One office in so many is lit for nobody, from the first round on."""
LIGHT_W: Final = 100
FIRST_W: Final = 20
STEP_W: Final = 10
"""Thresholds are 20, 30, … 100 W: a light of 100 W is above the first eight."""
AVERAGE_W: Final = 90
"""On the average over half an hour; where people come and go it is 50 W at most."""
ROUNDS: Final = 46
"""Half an hour for the rule that looks back, five minutes until it fires, and a last interval that is closed."""
WARM: Final = 2
"""Rounds in which everything is seen for the first time; they are not measured."""
PROMISE: Final = Promise("ns_per_reading_added", "most", 100)


def site_document(site: str, spaces: int, rules: int) -> Document:
    """The document of a site of offices, each with a light and a counter of people, as `apply` would make it."""
    tags = max(rules // PER_SPACE, 1)
    names = [f"s{number:06d}" for number in range(spaces)]
    count = 2 * spaces
    empty = (
        "equip", "direction", "sub_item", "max_age_s", "rated", "of", "counts_in", "flow_use", "min", "max",
        "valid_from", "valid_to", "tags",
    )  # fmt: skip
    points: dict[str, list[codec.Json]] = {
        "id": [f"{name}.{point}" for name in names for point in ("light", "people")],
        "number": list(range(count)),
        "site": [site] * count,
        "gateway": [f"g{number // PER_GATEWAY:05d}" for number in range(count)],
        "space": [name for name in names for _ in range(2)],
        "role": ["light_power", "occupancy"] * spaces,
        "kind": ["gauge", "state"] * spaces,
        "medium": ["electricity", None] * spaces,
        "unit": ["W", "1"] * spaces,
        "interval_s": [INTERVAL_S] * count,
        "topic": [METER_READINGS] * count,
        "clock": ["live"] * count,
        **{name: [None] * count for name in empty},
    }
    tables: dict[str, dict[str, list[codec.Json]]] = {
        "points": points,
        "sites": {"id": [site], "time_zone": ["Asia/Shanghai"], "calendar": [None], "institution": [None]},
        "buildings": {"id": ["B"], "site": [site]},
        "spaces": {
            "id": list(names),
            "building": ["B"] * spaces,
            "kind": ["office"] * spaces,
            "tags": [[f"t{number % tags}"] for number in range(spaces)],
        },
    }
    pack: dict[str, codec.Json] = {"pack": "bench", "rules": [_rule(number, tags) for number in range(rules)]}
    return Document(site, "live", 0, {site: 0}, 900, dict(LIMITS), tables, [pack], {}, {}, count)


def _rule(number: int, tags: int) -> dict[str, codec.Json]:
    step = number // tags
    light = "avg_over(light, 30m)" if step == PER_SPACE - 1 else "light"
    threshold = AVERAGE_W if step == PER_SPACE - 1 else FIRST_W + STEP_W * step
    return {
        "alert": f"Rule{number:04d}",
        "each": {"space": ["office"], "tags": [f"t{number % tags}"]},
        "roles": {"light": "light_power", "people": "occupancy"},
        "expr": f"{light} > {threshold} W and people == 0",
        "for": "5m",
        "wastes": ["light"],
        "source": "bench",
        "annotations": {name: {"summary": "-", "action": "-"} for name in ("zh", "en")},
    }


class Offices(Load):
    """Batches of 250 offices a gateway; see the module.

    Args:
        spaces: how many offices.
        rules: how many rules.
        varied: whether every reading of a light differs from the one before; else as people come and go.
    """

    def __init__(self, spaces: int, rules: int, varied: bool, rounds: int = ROUNDS) -> None:
        self.spaces, self.rules, self.varied = spaces, rules, varied
        super().__init__(2 * spaces // PER_GATEWAY, PER_GATEWAY, rounds)

    def __post_init__(self) -> None:
        """Makes the document, with the rules and without."""
        self.document = site_document(self.site, self.spaces, self.rules)
        self.bare = site_document(self.site, self.spaces, 0)

    @property
    def expected_alerts(self) -> set[tuple[str, str]]:
        """(rule, office) of every alert that must fire."""
        tags = max(self.rules // PER_SPACE, 1)
        above = (LIGHT_W - FIRST_W + STEP_W - 1) // STEP_W
        return {
            (f"Rule{step * tags + office % tags:04d}", f"s{office:06d}")
            for office in range(0, self.spaces, FORGOTTEN)
            for step in (*range(above), PER_SPACE - 1)
        }

    def batches(self) -> Iterator[tuple[int, bytes]]:
        """(time ms, message): every gateway's batch of every round."""
        office = np.arange(self.spaces)
        lost = office % FORGOTTEN == 0
        values = np.zeros((self.spaces, 2), np.int64)
        numbers = np.arange(2 * self.spaces, dtype=np.int32).reshape(self.gateways, -1)
        good = np.zeros(self.per_gateway, np.int8)
        for turn in range(self.rounds):
            here = ((office + turn) // 15 % 2 > 0) & ~lost
            values[:, 0] = np.where(here | lost, LIGHT_W * 1000 - (turn % 7 if self.varied else 0), 0)
            values[:, 0] += np.where(here | lost | (not self.varied), 0, turn % 7)
            values[:, 1] = here
            time_ms = BEGIN_MS + turn * INTERVAL_S * 1000
            times = np.full(self.per_gateway, time_ms, np.int64)
            rows = values.reshape(self.gateways, -1)
            for gateway in range(self.gateways):
                yield (
                    time_ms,
                    encode_batch(self.site, f"g{gateway:05d}", "live", times, numbers[gateway], rows[gateway], good),
                )


_layouts: dict[bytes, Layout] = {}


def _built(topic: str, documents: dict[str, Document], versions: dict[str, int]) -> Layout:
    """A layout; the second load has the first one's."""
    key = b"".join(document.sha256 for document in documents.values())
    return _layouts.get(key) or _layouts.setdefault(key, build(topic, documents, versions))


class _Run:
    """A task that is fed slab by slab, and the CPU time that it took from some reading on."""

    def __init__(self, document: Document) -> None:
        self.processor = Processor(METER_READINGS, 0, lambda _: document, _built)
        self.outputs: list[Output] = []
        self.spent_s = 0.0

    def advance(self, slab: Slab, counted: bool) -> None:
        begin_s = time.process_time()
        self.processor.advance(slab)
        if self.processor.outbox.rows > TAKE_ROWS:
            self.outputs += self.processor.take()
        if counted:
            self.spent_s += time.process_time() - begin_s

    @property
    def readings(self) -> int:
        return int(self.processor.state.scalars[READINGS_APPLIED])


def measure(load: Offices) -> Row:
    """Applies everything twice; both must make the same gauge rows, and the rules just the alerts that are meant."""
    begin_s = time.process_time()
    _built(METER_READINGS, {load.site: load.document}, {load.site: 1})
    build_s = time.process_time() - begin_s
    ruled, bare = _Run(load.document), _Run(load.bare)
    counted = 0
    for number, slab in enumerate(load.slabs()):
        measured = ruled.readings >= WARM * 2 * load.spaces
        before = ruled.readings
        for run in (bare, ruled) if number % 2 else (ruled, bare):
            run.advance(slab, measured)
        counted += ruled.readings - before if measured else 0
    for run in (ruled, bare):
        run.outputs += run.processor.take()
    same = _head(ruled, "gauges") == _head(bare, "gauges") and ruled.readings == bare.readings == load.readings
    correct = same and _fired(ruled.outputs) == load.expected_alerts and not _fired(bare.outputs)
    figures: dict[str, Number] = {
        PROMISE.figure: round((ruled.spent_s - bare.spent_s) / counted * 1e9, 1),
        "bare_ns_per_reading": round(bare.spent_s / counted * 1e9, 1),
        "instances": len(ruled.processor.state.instances),
    } | ({"layout_s": round(build_s, 1)} if build_s > 0.05 else {})
    labels = {"load": f"{load.rules} rules, {load.spaces} spaces", "values": "all differ" if load.varied else "steady"}
    return Row(correct, counted, {"bench": ruled.spent_s}, figures, labels, [PROMISE])


def run(options: Options) -> list[Row]:
    """Where lights stay as they are while people do, and where every reading of a light is another value."""
    measure(Offices(2_500, 50, varied=False))  # compiles
    _layouts.clear()
    found = []
    for step, varied in enumerate((False, True)):
        options.report("rules x spaces", step, 2)
        found.append(measure(Offices(SPACES, RULES, varied)))
    return found


def _head(run: _Run, stream: str) -> object:
    return next(head for head in run.processor.stream_heads() if head["stream"] == stream)


def _fired(outputs: list[Output]) -> set[tuple[str, str]]:
    found = set()
    for output in outputs:
        if codec.contract_of(output.value) != "alert_rows":
            continue
        listed = codec.read("alert_rows", output.value)["rows"]
        assert isinstance(listed, list)
        found |= {(str(row["rule"]), str(row["subject"])) for row in listed if isinstance(row, dict)}
    return found


BENCH: Final = Bench("many-rules", "what 1,000 rules on 100,000 spaces add to a reading", [PROMISE], run)
