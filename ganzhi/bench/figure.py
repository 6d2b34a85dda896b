"""What a bench is, what it says, and the promises it is held against."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from ganzhi.embedded.progress import Report, silent

Number = int | float

MILLION: Final = 1e6


@dataclasses.dataclass(frozen=True)
class Promise:
    """A figure that is promised (DESIGN section 12).

    Attributes:
        figure: name of the value in a row: `cpu_s_per_million`, `readings_per_s`, or one of the bench's own.
        at: whether the limit is the most or the least that keeps the promise.
        limit: in the unit that ends the figure's name.
    """

    figure: str
    at: Literal["most", "least"]
    limit: Number

    def __str__(self) -> str:
        return f"{self.figure} {'<=' if self.at == 'most' else '>='} {self.limit:,}"

    def kept_by(self, value: object) -> bool:
        """Whether a value keeps it; a value that is missing does not."""
        if not isinstance(value, int | float):
            return False
        return value <= self.limit if self.at == "most" else value >= self.limit


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of figures, of results that were checked.

    Attributes:
        correct: whether the results were what they must be; a rate of wrong results is no figure.
        readings: how many were measured; 0: the bench does not count readings.
        cpu_s: CPU-seconds spent on all of them, by process.
        figures: further values by name; a name ends with its unit (`p99_ms`, `state_bytes_per_point`).
        labels: what tells this row from the bench's others.
        promises: that this row is held against; None: those of the bench.
    """

    correct: bool
    readings: int = 0
    cpu_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    figures: Mapping[str, Number] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    promises: "Sequence[Promise] | None" = None

    def values(self) -> dict[str, object]:
        """Everything by name, for programs; what does not apply is absent."""
        found: dict[str, object] = dict(self.labels)
        if self.readings:
            found["readings"] = self.readings
        spent_s = sum(self.cpu_s.values())
        if self.readings and spent_s > 0:
            found["cpu_s_per_million"] = round(spent_s / self.readings * MILLION, 4)
            found["by_process"] = {
                name: round(spent / self.readings * MILLION, 4) for name, spent in self.cpu_s.items()
            }
            found["readings_per_s"] = int(self.readings / spent_s)
        return found | dict(self.figures)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks of a bench; each takes what concerns it.

    Attributes:
        readings: about how many to measure; None: as many as the bench takes for a steady figure.
        rate: readings a second where a bench goes at a set pace; None: the pace of the promise.
        seconds: how long such a bench goes on; None: as long as it needs for its percentiles.
        to: where a latency ends, where a bench knows several ends; empty: the first.
        report: told how far long steps are.
    """

    readings: int | None = None
    rate: int | None = None
    seconds: float | None = None
    to: str = ""
    report: Report = silent


@dataclasses.dataclass(frozen=True)
class Bench:
    """A bench: one module of this folder has one as `BENCH`, and `registry` names the module.

    Attributes:
        name: on the command line and in every row.
        measures: what, in a few words.
        promises: that every row is held against.
        run: measures, checks, and gives one row or several.
    """

    name: str
    measures: str
    promises: Sequence[Promise]
    run: Callable[[Options], Sequence[Row]]

    def judged(self, row: Row) -> dict[str, object]:
        """A row for programs: its values with `promise`, `met` and `correct`."""
        values = row.values()
        judged: dict[str, object] = {"name": self.name, **values, "correct": row.correct}
        promises = self.promises if row.promises is None else row.promises
        if promises:
            judged["promise"] = " and ".join(map(str, promises))
            kept = [promise.kept_by(values.get(promise.figure)) for promise in promises]
            judged["met"] = row.correct and all(kept)
        return judged
