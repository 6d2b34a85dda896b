"""What differs between two back-tests: for programs and for people."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.texts import text
from ganzhi.trial_report import Places, Totals, amounts, episode_as_dict, yuan
from replay.backtest import Backtest
from replay.what_if import CHANGES, Pair
from schemas.prices import MONEY_PER_YUAN

SHOWN_MAX: Final = 20
ROOMS_MAX: Final = 10
"""So many rooms of a rule are shown, those that differ most."""


class Rows:
    """Pairs by rule and room.

    Args:
        before: with the rules in force.
        after: with the others.
        pairs: of `compare`.
        console: address of the console that has the history; empty: none has it, there are no links.
    """

    def __init__(self, before: Backtest, after: Backtest, pairs: Sequence[Pair], console: str = "") -> None:
        self.before, self.after, self.pairs = before, after, pairs
        self._console = console.rstrip("/")
        self.places = Places({**before.documents, **after.documents})
        self._by: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
        for pair in pairs:
            one = pair.one
            self._by[one.site, one.rule, self.places.room(one.site, one.subject)].append(pair)

    def link(self, pair: Pair) -> str:
        """The console's page that shows what was measured around an episode; empty where there is none.

        An episode of both sides is shown from its first start to its last end.
        """
        sides = [one for one in (pair.before, pair.after) if one is not None]
        page = self.places.page(pair.one.site, pair.one.subject)
        if not self._console or page is None:
            return ""
        start = min(one.started_ms for one in sides)
        end = max(start + 60_000, *(one.end_by(self.after.span.to_ms) for one in sides))
        query = {"site": pair.one.site, "id": page[1], "from": _iso(start), "to": _iso(end)}
        return f"{self._console}{page[0]}?{urlencode(query, errors='replace', safe=':')}"

    def as_dicts(self) -> list[dict[str, Any]]:
        """A row a rule and room."""
        return [
            {"site": site, "rule": rule, "room": room, **self._row(pairs)}
            for (site, rule, room), pairs in sorted(self._by.items())
        ]

    def total(self) -> dict[str, Any]:
        """All of them together."""
        return self._row(self.pairs)

    def of_rule(self, rule: str) -> dict[str, Any]:
        """All rooms of a rule together."""
        return self._row([pair for pair in self.pairs if pair.one.rule == rule])

    def _row(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        counts = Counter(pair.change for pair in pairs)
        sides = {}
        for name, result, episodes in (
            ("before", self.before, [pair.before for pair in pairs if pair.before]),
            ("after", self.after, [pair.after for pair in pairs if pair.after]),
        ):
            totals = Totals(episodes, result.span)
            sides[name] = {**totals.as_dict(), "alerts_per_day": round(totals.alerts / result.span.days, 4)}
        return {**{change: counts[change] for change in CHANGES}, **sides}


def what_if_as_dict(rows: Rows) -> dict[str, Any]:
    """For programs: sums, rows by rule and room, and every episode that is not the same."""
    before, after = rows.before, rows.after

    def side(pair: Pair, name: str) -> dict[str, Any] | None:
        episode = getattr(pair, name)
        return None if episode is None else episode_as_dict(episode, after.span, rows.places)

    return {
        "from": _iso(before.span.from_ms),
        "to": _iso(before.span.to_ms),
        "order": "event_time",
        "sites": sorted(after.documents),
        "total": rows.total(),
        "rows": rows.as_dicts(),
        "differences": [
            {
                "change": pair.change,
                "before": side(pair, "before"),
                "after": side(pair, "after"),
                "link": rows.link(pair),
            }
            for pair in rows.pairs
            if pair.change != "same" or cost_of(pair, "before", rows) != cost_of(pair, "after", rows)
        ],
    }


def cost_of(pair: Pair, name: str, rows: Rows) -> float | None:
    """What one side of a pair cost, yuan."""
    episode = getattr(pair, name)
    cost = None if episode is None else episode.cost(rows.before.span.from_ms, rows.before.span.to_ms)
    return None if cost is None else cost / MONEY_PER_YUAN


def _iso(time_ms: int) -> str:
    from ganzhi.trial import iso

    return iso(time_ms)


def show_what_if(rows: Rows, console: Console) -> None:
    """For people: a line a rule and room that changes, the sums, and the first episodes that differ."""
    listed = [row for row in rows.as_dicts() if _differs(row)]
    console.print(rows.places.span(rows.before.span), highlight=False)
    if not listed:
        console.print(text("no difference"))
        return
    by_rule: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in listed:
        by_rule[row["rule"]].append(row)
    total = rows.total()
    shown = [change for change in CHANGES[:-1] if total[change]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("rule", *shown, "alerts a day", "wasted", "cost"):
        table.add_column(text(name), justify="left" if name == "rule" else "right")
    for rule, found in by_rule.items():
        table.add_row(escape(rule), *_cells(rows.of_rule(rule), shown))
        for row in sorted(found, key=_weight, reverse=True)[:ROOMS_MAX]:
            table.add_row(f"  {escape(row['room'])}", *_cells(row, shown))
        if len(found) > ROOMS_MAX:
            table.add_row("  " + text("more rooms").format(count=len(found) - ROOMS_MAX))
    if len(by_rule) > 1:
        table.add_section()
        table.add_row(text("all"), *_cells(total, shown))
    console.print(table)
    changed = [pair for pair in rows.pairs if pair.change != "same"]
    for pair in changed[:SHOWN_MAX]:
        one = pair.one
        words = (text(pair.change), rows.places.clock(one.site, one.started_ms), one.rule, one.subject)
        console.print("  ".join(words), markup=False, highlight=False)
        link = rows.link(pair)
        if link:
            console.print(f"    {link}", markup=False, highlight=False, soft_wrap=True)
    if len(changed) > SHOWN_MAX:
        console.print(text("more with json").format(count=len(changed) - SHOWN_MAX), highlight=False)


def _weight(row: dict[str, Any]) -> tuple[float, float]:
    """How much a row differs: in alerts, then in hours."""
    before, after = row["before"], row["after"]
    return abs(after["alerts"] - before["alerts"]), abs(after["hours"] - before["hours"])


def _differs(row: dict[str, Any]) -> bool:
    before, after = row["before"], row["after"]
    return bool(row["gained"] or row["lost"] or row["longer"] or row["shorter"]) or before != after


def _cells(row: dict[str, Any], changes: Sequence[str]) -> list[str]:
    counts = [str(row[change] or "") for change in changes]
    before, after = row["before"], row["after"]

    def waste(side: dict[str, Any]) -> str:
        return amounts({(one["medium"], one["unit"]): one["quantity"] for one in side["waste"]}) or "0"

    def money(side: dict[str, Any]) -> str:
        return yuan(side["cost_yuan"]) or "–"

    pairs = (
        (f"{before['alerts_per_day']:.2f}", f"{after['alerts_per_day']:.2f}"),
        (waste(before), waste(after)),
        (money(before), money(after)),
    )
    return [*counts, *(old if old == new else f"{old} → {new}" for old, new in pairs)]
