"""What must hold in single tables because of what they are about: shares, balance, meters, calendars, stations."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Final

from schemas.errors import ActionError, Fault
from schemas.hours import Hours
from schemas.matchers import Matcher
from schemas.model.folder import suggestion
from schemas.model.typed import ALWAYS, OPEN, Model, Rows, overlaps
from schemas.rules.format import parse_duration
from schemas.rules.schedules import NIGHT, WORKDAY
from schemas.units import MEDIA, UNITS, text_of

DAY_S: Final = 86_400


def check_sense(model: Model) -> Iterator[Fault]:
    """Every fault of the tables but `points`."""
    yield from _sites(model)
    yield from _spaces(model)
    yield from _tenure(model.rows("tenure"))
    yield from _balance(model.rows("balance"))
    yield from _meters(model)
    yield from _stations(model)
    yield from _schedules(model)
    yield from _rosters(model.rows("rosters"))
    yield from _routes(model)


def _sites(model: Model) -> Iterator[Fault]:
    sites = model.rows("sites")
    if not len(sites):
        yield Fault("sites.yaml", 0, "there is no site; a model has at least one")
    for row, interval_s in enumerate(sites.columns["interval_s"]):
        if isinstance(interval_s, int) and DAY_S % interval_s:
            yield sites.fault(row, f"interval_s {interval_s} does not divide a day of {DAY_S} s; 900 does")
    limits = model.rows("limits")
    for _, members in limits.groups(("name", "site")):
        for row in members[1:]:
            yield limits.fault(row, f"this limit is at {limits.place(members[0])} already")


def _spaces(model: Model) -> Iterator[Fault]:
    spaces = model.rows("spaces")
    first = spaces.by_id()
    buildings = spaces.texts("building")
    for row, parent in enumerate(spaces.texts("parent")):
        if parent in first and buildings[first[parent]] != buildings[row]:
            yield spaces.fault(
                row, f"parent {parent!r} is in building {buildings[first[parent]]!r}, this is in {buildings[row]!r}"
            )


def share_sums(rows: Rows, members: list[int]) -> Iterator[tuple[str, Fraction, int]]:
    """Sums of `share` over time: (first day, sum from then on, row that begins there), only where something holds."""
    firsts, lasts = rows.columns["valid_from"], rows.columns["valid_to"]
    validity = {row: (str(firsts[row] or ALWAYS), str(lasts[row] or OPEN)) for row in members}
    shares = {row: Fraction(str(rows.columns["share"][row] or 0)) for row in members}
    for begin in sorted({validity[row][0] for row in members} | {validity[row][1] for row in members} - {OPEN}):
        holding = [row for row in members if validity[row][0] <= begin < validity[row][1]]
        if holding:
            starting = [row for row in holding if validity[row][0] == begin]
            yield begin, sum((shares[row] for row in holding), Fraction(0)), max(starting or holding)


def _tenure(rows: Rows) -> Iterator[Fault]:
    for (space,), members in rows.groups(("space",)):
        for begin, total, row in share_sums(rows, members):
            if total != 1:
                since = f" from {begin}" if begin else ""
                yield rows.fault(row, f"the shares of space {space!r} sum to {text_of(total)}{since}, not to 1")
                break


def _balance(rows: Rows) -> Iterator[Fault]:
    for row, (node, point, sign) in enumerate(
        zip(rows.texts("node"), rows.texts("point"), rows.columns["sign"], strict=True)
    ):
        if node and node == point and sign == -1:
            yield rows.fault(row, f"node {node!r} is taken from itself; its own point goes in with +")
    for key, members in rows.groups(("point", "sign")):
        for begin, total, row in share_sums(rows, members):
            if total > 1:
                word, since = "+" if key[1] == 1 else "-", f" from {begin}" if begin else ""
                yield rows.fault(
                    row,
                    f"point {key[0]!r} goes with {word} into several nodes whose shares sum to {text_of(total)}{since},"
                    " more than 1",
                )
                break


def _meters(model: Model) -> Iterator[Fault]:
    install, points = model.rows("meter_install"), model.rows("points")
    first = points.by_id()
    kinds = points.texts("kind")
    validity = install.validity()
    for (point,), members in install.groups(("point",)):
        for one, two in overlaps({row: validity[row] for row in members}):
            yield install.fault(
                two, f"point {point!r} is fed at {install.place(one)} already, and both hold at the same time"
            )
        for row in members:
            if str(point) in first and kinds[first[str(point)]] not in ("register", "delta"):
                yield install.fault(
                    row, f"point {point!r} is a {kinds[first[str(point)]]}; a meter feeds registers and deltas"
                )


def _stations(model: Model) -> Iterator[Fault]:
    bins, stations = model.rows("bins"), model.rows("stations")
    first = stations.by_id()
    for row, (station, waste_class) in enumerate(zip(bins.texts("station"), bins.texts("class"), strict=True)):
        classes = stations.columns["class"][first[station]] if station in first else None
        if isinstance(classes, list) and classes and waste_class and waste_class not in classes:
            near = suggestion(waste_class, map(str, classes))
            yield bins.fault(row, f"station {station!r} does not take {waste_class!r}{near}")
    bays, sites = model.rows("bays"), model.rows("sites")
    if len(sites) > 1:
        yield from (bays.fault(row, "says no site") for row, site in enumerate(bays.columns["site"]) if site is None)


def _schedules(model: Model) -> Iterator[Fault]:
    names = set(model.rows("schedules").texts("name"))
    tariffs = model.rows("tariffs")
    for row, slot in enumerate(tariffs.texts("slot")):
        if slot and slot not in names:
            yield tariffs.fault(row, f"slot {slot!r} is no schedule{suggestion(slot, names)}")
    exemptions = model.rows("exemptions")
    for row, name in enumerate(exemptions.texts("schedule")):
        if name and name not in names | {WORKDAY, NIGHT}:
            yield exemptions.fault(row, f"{name!r} is no schedule{suggestion(name, names)}")
    for table in ("tariffs", "factors"):
        rows = model.rows(table)
        for row, (medium, unit) in enumerate(zip(rows.texts("medium"), rows.texts("unit"), strict=True)):
            demand = table == "tariffs" and rows.columns["component"][row] == "demand"
            if medium and unit and not demand and UNITS[unit].dimension not in MEDIA[medium].dimensions:
                yield rows.fault(row, f"{medium} is not counted in {unit}; {MEDIA[medium].price_unit} is usual")


def _readable(rows: Rows, row: int, column: str, read: Callable[[str], object]) -> Iterator[Fault]:
    text = rows.columns[column][row]
    try:
        read(str(text or ""))
    except (ActionError, ValueError) as error:
        yield rows.fault(row, f"{column}: {error}")


def _rosters(rosters: Rows) -> Iterator[Fault]:
    for row in range(len(rosters)):
        yield from _readable(rosters, row, "hours", Hours.parse)


def _routes(model: Model) -> Iterator[Fault]:
    routes = model.rows("routes")
    who = {*model.rows("rosters").texts("id"), *model.rows("people").texts("id")}
    for row in range(len(routes)):
        yield from _readable(routes, row, "matcher", Matcher.parse)
        yield from _readable(routes, row, "hours", Hours.parse)
        for column in ("wait", "every", "confirm_after"):
            yield from _readable(routes, row, column, parse_duration)
        escalate = routes.columns["escalate"][row]
        targets = [str(one) for one in _listed(routes.columns["send_to"][row])]
        for step in _listed(escalate):
            after, arrow, target = str(step).partition(">")
            targets.append(target)
            try:
                known = parse_duration(after) > 0 and arrow and target
            except ValueError:
                known = False
            if not known:
                yield routes.fault(row, f"escalate: {step!r} is no step; write 15m>channel or 15m>channel@roster")
        for target in targets:
            _, at, named = target.partition("@")
            if at and named not in who:
                yield routes.fault(row, f"{target!r} names {named!r}, no roster and no person{suggestion(named, who)}")
        if (routes.columns["below_yuan"][row] is None) != (routes.columns["list_at"][row] is None):
            yield routes.fault(row, "below_yuan and list_at belong together: what is not told at once is in the list")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
