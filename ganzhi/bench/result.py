"""A figure: what was measured, and whether its results were right."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Result:
    """One figure.

    Attributes:
        name: of the bench.
        readings: how many were measured.
        readings_per_s: by CPU-second of one core, all processes named by the bench together.
        cpu_s_per_million: CPU-seconds per million readings.
        correct: whether the results were what they must be; a rate of wrong results is no figure.
        state_bytes_per_point: where it applies.
        wall_readings_per_s: where it applies: by the clock on the wall, other processes included.
    """

    name: str
    readings: int
    readings_per_s: int
    cpu_s_per_million: float
    correct: bool
    state_bytes_per_point: float | None = None
    wall_readings_per_s: int | None = None

    @classmethod
    def of(
        cls,
        name: str,
        readings: int,
        cpu_s: float,
        correct: bool,
        state_bytes_per_point: float | None = None,
        wall_s: float | None = None,
    ) -> "Result":
        """A figure from what was counted and measured."""
        per_million = cpu_s / readings * 1e6 if readings else 0.0
        rate = int(readings / cpu_s) if cpu_s > 0 else 0
        wall = int(readings / wall_s) if wall_s else None
        return cls(name, readings, rate, round(per_million, 4), correct, state_bytes_per_point, wall)

    def as_dict(self) -> dict[str, object]:
        """For programs; what does not apply is absent."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
