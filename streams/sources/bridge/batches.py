"""Readings wait here for others of their gateway, and become meter batches."""

from collections.abc import Mapping
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.encode import GroupEncoder, Mode
from streams.sources.bridge.readings import Readings
from streams.sources.bridge.targets import Gateways
from streams.transaction import Message

COLUMNS: Final = ("gateways", "points", "times_ms", "values", "qualities")


class Batches:
    """Collects readings and packs them.

    Args:
        gateways: names of the numbers that readings carry.
        mode: of every batch.

    Attributes:
        readings: how many wait.
    """

    def __init__(self, gateways: Gateways, mode: Mode) -> None:
        self.readings = 0
        self._gateways = gateways
        self._encoder = GroupEncoder(mode)
        self._known = 0
        self._waiting: list[Readings] = []

    def add(self, readings: Readings) -> None:
        """Takes some."""
        if len(readings):
            self._waiting.append(readings)
            self.readings += len(readings)

    def take(self, topic: str, partitions: Mapping[str, int]) -> list[Message]:
        """Packs all that wait: at most 1,000 readings a message, those of one gateway together, in the order of time.

        Where times are equal the order is that of arrival.

        Args:
            topic: full name of `meter.readings`.
            partitions: of each site.
        """
        if not self.readings:
            return []
        gateways, points, times_ms, values, qualities = (
            np.concatenate([getattr(one, name) for one in self._waiting]) for name in COLUMNS
        )
        self.clear()
        for site, gateway in self._gateways.names[self._known :]:
            self._encoder.add(site, gateway)
        self._known = len(self._gateways.names)
        order, firsts, unsorted = _sort(gateways, times_ms, self._known)
        groups = np.nonzero(np.diff(firsts))[0]
        for group in groups[unsorted[groups]].tolist():
            part = slice(int(firsts[group]), int(firsts[group + 1]))
            rows = order[part]
            order[part] = rows[np.argsort(times_ms[rows], kind="stable")]
        begins = np.append(firsts[groups], firsts[-1])
        messages = self._encoder.encode(groups, begins, order, times_ms, points, values, qualities)
        homes = [(partitions[site], site.encode()) for site, _ in self._gateways.names]
        return [Message(topic, *homes[group], raw) for group, raw in messages]

    def clear(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
        self.readings = 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sort(
    gateways: NDArray[np.int32], times_ms: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Rows by gateway in the order in which they came; where each gateway begins; whose times are not in order."""
    firsts = np.zeros(count + 1, np.int64)
    for gateway in gateways:
        firsts[gateway + 1] += 1
    for group in range(count):
        firsts[group + 1] += firsts[group]
    order = np.empty(gateways.size, np.int64)
    place = firsts[:count].copy()
    last = np.full(count, -(1 << 62), np.int64)
    unsorted = np.zeros(count, np.bool_)
    for row in range(gateways.size):
        gateway = gateways[row]
        order[place[gateway]] = row
        place[gateway] += 1
        if times_ms[row] < last[gateway]:
            unsorted[gateway] = True
        last[gateway] = times_ms[row]
    return order, firsts, unsorted
