"""Episodes as people count them: put together from the rows of alerts and of what they wasted, with their price."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas import codec
from schemas.model.document import Document
from schemas.prices import Prices, wasted_unit

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

Waste = tuple[str, str]
"""(medium, smallest unit)."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What a point used in a part of an episode, at most a quarter of an hour long.

    Attributes:
        point: its number.
        from_ms: start, UTC.
        to_ms: end.
        quantity: in the smallest unit of the point's medium.
    """

    point: int
    from_ms: int
    to_ms: int
    quantity: int


@dataclasses.dataclass(frozen=True)
class Episode:
    """One spell in which a rule's expression held for long enough to fire.

    Attributes:
        site: where.
        rule: which rule.
        subject: id of the space, point, equip, station or vehicle.
        severity: of the rule.
        state: resolved, stale, or open: it goes on where the history ends.
        started_ms: when the expression became true, UTC.
        fired_ms: when the alert fired.
        ended_ms: when it ended; None while it is open.
        parts: what it wasted, in the order of time.
        costs: the price of each part, 1/10000 yuan; None where no tariff has one.
    """

    site: str
    rule: str
    subject: str
    severity: str
    state: str
    started_ms: int
    fired_ms: int
    ended_ms: int | None
    parts: tuple[Part, ...] = ()
    costs: tuple[int | None, ...] = ()
    units: tuple[Waste, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Site, rule, subject."""
        return self.site, self.rule, self.subject

    def end_by(self, to_ms: int) -> int:
        """Its end, or the end of the history."""
        return to_ms if self.ended_ms is None else self.ended_ms

    def waste(self, from_ms: int = -(1 << 62), to_ms: int = 1 << 62) -> dict[Waste, int]:
        """What it wasted in a span, by medium and unit."""
        total: dict[Waste, int] = defaultdict(int)
        for part, unit in zip(self.parts, self.units, strict=True):
            if from_ms <= part.from_ms < to_ms:
                total[unit] += part.quantity
        return dict(total)

    def cost(self, from_ms: int = -(1 << 62), to_ms: int = 1 << 62) -> int | None:
        """What that cost, 1/10000 yuan; None where a part of it has no price."""
        own = [cost for part, cost in zip(self.parts, self.costs, strict=True) if from_ms <= part.from_ms < to_ms]
        known = [cost for cost in own if cost is not None]
        return sum(known) if own and len(known) == len(own) else None


@dataclasses.dataclass
class _Open:
    severity: str
    started_ms: int
    fired_ms: int
    state: str = "open"
    ended_ms: int | None = None
    parts: list[Part] = dataclasses.field(default_factory=list)


class Collector:
    """Takes messages of the topic `alerts` and makes episodes of them.

    Args:
        documents: by site; their tariffs price what was wasted.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._documents = documents
        self._found: dict[tuple[str, str, str, int], _Open] = {}
        self._parts: dict[tuple[str, str, str, int], list[Part]] = defaultdict(list)

    def take(self, messages: Iterable[bytes], over: bool = False) -> None:
        """Takes messages.

        Args:
            messages: of the contracts `alert_rows` and `episode_rows`; others are left.
            over: the history has ended: what ends now goes on.
        """
        for raw in messages:
            contract = codec.contract_of(raw)
            if contract == "alert_rows":
                value: Any = codec.read(contract, raw)
                for row in value["rows"]:
                    self._alert(row, over)
            elif contract == "episode_rows":
                value = codec.read(contract, raw)
                for row in value["rows"]:
                    part = Part(row["point"], row["from_ms"], row["to_ms"], row["quantity"])
                    self._parts[row["site"], row["rule"], row["subject"], row["episode"]].append(part)

    def _alert(self, row: Mapping[str, Any], over: bool) -> None:
        key = (row["site"], row["rule"], row["subject"], row["episode"])
        if row["state"] == "firing":
            known = self._found.get(key)
            if known is None:
                self._found[key] = _Open(row["severity"], row["started_at"], row["valid_at"])
            else:
                known.severity = row["severity"]
        elif key in self._found and not over:
            self._found[key].state, self._found[key].ended_ms = row["state"], row["valid_at"]

    def episodes(self) -> list[Episode]:
        """Everything that fired, by start, rule and subject."""
        prices = {site: Prices(document) for site, document in self._documents.items()}
        units: dict[tuple[str, int], Waste] = {}
        made = []
        for (site, rule, subject, number), one in self._found.items():
            parts = [part for part in self._parts.get((site, rule, subject, number), []) if part.quantity]
            for part in parts:
                if (site, part.point) not in units:
                    units[site, part.point] = wasted_unit(self._documents[site], part.point)
            own = tuple(units[site, part.point] for part in parts)
            costs = tuple(
                prices[site].cost(medium, part.from_ms, part.quantity) if medium else None
                for part, (medium, _) in zip(parts, own, strict=True)
            )
            span = (one.started_ms, one.fired_ms, one.ended_ms)
            made.append(Episode(site, rule, subject, one.severity, one.state, *span, tuple(parts), costs, own))
        return sorted(made, key=lambda episode: (episode.started_ms, episode.key))
