"""How well something is found: estimates against truth, by minute and by episode."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Score:
    """Counts of right and wrong.

    Attributes:
        hits: found and true.
        false: found and not true.
        missed: true and not found.
        delays_s: of each hit that has one, from the true start to when it was known.
    """

    hits: int
    false: int
    missed: int
    delays_s: tuple[float, ...] = ()

    @property
    def precision(self) -> float:
        """Of what was found, the share that is true; 1 where nothing was found."""
        found = self.hits + self.false
        return self.hits / found if found else 1.0

    @property
    def recall(self) -> float:
        """Of what is true, the share that was found; 1 where nothing is."""
        there = self.hits + self.missed
        return self.hits / there if there else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        both = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / both if both else 1.0

    @property
    def delay_p50_s(self) -> float | None:
        """The median delay; None where there is none."""
        return float(np.median(self.delays_s)) if self.delays_s else None

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.hits + other.hits,
            self.false + other.false,
            self.missed + other.missed,
            self.delays_s + other.delays_s,
        )


def by_sample(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> Score:
    """Sample by sample: minutes, readings."""
    hits = int((truth & found).sum())
    return Score(hits, int(found.sum()) - hits, int(truth.sum()) - hits)


Spell = tuple[int, int, int]
"""(start, end, when it was known), UTC ms; of a truth the last is not looked at."""


def by_episode(truth: Sequence[Spell], found: Sequence[Spell]) -> Score:
    """Spell by spell: a true one is found when a found one overlaps it, a found one is false when it overlaps none.

    The delay is from the true start to when the first found one that overlaps was known.
    """
    delays = []
    missed = 0
    for start, end, _ in truth:
        known = [at for low, high, at in found if low < end and start < high]
        if known:
            delays.append(max(0.0, (min(known) - start) / 1000))
        else:
            missed += 1
    false = sum(1 for low, high, _ in found if not any(low < end and start < high for start, end, _ in truth))
    return Score(len(truth) - missed, false, missed, tuple(delays))


def log_loss(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Mean of minus the logarithm of the probability given to what is true; 0 is perfect."""
    p = np.clip(np.where(truth, probability, 1 - probability), 1e-4, 1)
    return -math.fsum(np.log(p).tolist()) / max(1, len(p))
