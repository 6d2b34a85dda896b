"""What must hold in every table: rows are told apart, references lead somewhere and never in a circle."""

from collections.abc import Iterator, Mapping
from typing import Final

from schemas.errors import Fault
from schemas.model.folder import suggestion
from schemas.model.typed import Model, Rows, overlaps

SUGGESTIONS_MAX: Final = 20
"""More than so many wrong references have one cause."""
SUGGEST_AMONG_MAX: Final = 5_000
"""Looking for a near word among so many ids takes 50 ms."""

PARENTS: Final = (
    ("institutions", "parent"),
    ("departments", "parent"),
    ("spaces", "parent"),
    ("equips", "parent"),
    ("points", "of"),
)


def check_references(model: Model) -> Iterator[Fault]:
    """Every fault that needs no knowledge of what a table is about."""
    for rows in model.tables.values():
        yield from _validity(rows)
        yield from _twice(rows)
    yield from _dangling(model)
    for table, column in PARENTS:
        yield from _circles(model.rows(table), column)
    yield from _balance_circles(model.rows("balance"))
    spaces, buildings = model.rows("spaces"), model.rows("buildings").by_id()
    for row, name in enumerate(spaces.texts("id")):
        if name in buildings:
            place = model.rows("buildings").place(buildings[name])
            yield spaces.fault(row, f"{name!r} is a building too ({place}); places need different ids")


def _validity(rows: Rows) -> Iterator[Fault]:
    for row, (begin, end) in enumerate(rows.validity()):
        if begin >= end:
            yield rows.fault(row, f"valid_from {begin} is not before valid_to {end}")


def _twice(rows: Rows) -> Iterator[Fault]:
    key = rows.spec.key
    validity = rows.validity()
    for values, members in rows.groups(key):
        if len(members) == 1 or values[0] is None:
            continue
        what = ", ".join(
            f"{name} {value!r}" for name, value in zip(key, values, strict=True) if value not in (None, [])
        )
        if key == ("id",):
            yield from (rows.fault(row, f"{what} is at {rows.place(members[0])} already") for row in members[1:])
        else:
            for first, second in overlaps({row: validity[row] for row in members}):
                yield rows.fault(second, f"{what} is at {rows.place(first)} already, and both hold at the same time")
    if key != ("id",) and rows.spec.dated and "id" not in key:
        for values, members in rows.groups(("id",)):
            yield from (
                rows.fault(row, f"id {values[0]!r} is at {rows.place(members[0])} already") for row in members[1:]
            )


def _dangling(model: Model) -> Iterator[Fault]:
    ids = {name: dict.fromkeys(rows.texts("id")) for name, rows in model.tables.items() if "id" in rows.columns}
    left = SUGGESTIONS_MAX
    for rows in model.tables.values():
        for name, column in rows.spec.columns.items():
            if column.type not in ("ref", "refs"):
                continue
            known: Mapping[str, None] = (
                ids.get(column.argument[0], {})
                if len(column.argument) == 1
                else {key: None for table in column.argument for key in ids.get(table, {})}
            )
            for row, value in enumerate(rows.columns[name]):
                for target in value if isinstance(value, list) else (value,):
                    if target is None or target in known:
                        continue
                    left -= 1
                    near = suggestion(str(target), known) if left >= 0 and len(known) <= SUGGEST_AMONG_MAX else ""
                    where = " or ".join(column.argument)
                    yield rows.fault(row, f"{name} {target!r} is not in {where}{near}")


def _circles(rows: Rows, column: str) -> Iterator[Fault]:
    names = rows.texts("id")
    parents = {name: [parent] if parent else [] for name, parent in zip(names, rows.texts(column), strict=True)}
    first = rows.by_id()
    for circle in circles(parents):
        row = min(first[name] for name in circle)
        yield rows.fault(row, f"{column} goes in a circle: {' → '.join([*circle, circle[0]])}")


def _balance_circles(rows: Rows) -> Iterator[Fault]:
    """A node may have the point of its own name with +: that is its supply."""
    edges: dict[str, list[str]] = {}
    where: dict[tuple[str, str], int] = {}
    for row, (node, point, sign) in enumerate(
        zip(rows.texts("node"), rows.texts("point"), rows.columns["sign"], strict=True)
    ):
        if node == point and sign == 1:
            continue
        edges.setdefault(node, []).append(point)
        where.setdefault((node, point), row)
    for circle in circles(edges):
        row = min(where[pair] for pair in zip(circle, [*circle[1:], circle[0]], strict=True))
        yield rows.fault(row, f"the balance goes in a circle: {' → '.join([*circle, circle[0]])}")


def circles(edges: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Circles of a directed graph, one for each edge that closes one; each begins with its smallest name."""
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        path: list[str] = [start]
        on_path = {start: 0}
        pending = [iter(edges.get(start, ()))]
        while pending:
            target = next(pending[-1], None)
            if target is None:
                pending.pop()
                name = path.pop()
                del on_path[name]
                done.add(name)
            elif target in on_path:
                circle = path[on_path[target] :]
                smallest = circle.index(min(circle))
                yield circle[smallest:] + circle[:smallest]
            elif target not in done:
                on_path[target] = len(path)
                path.append(target)
                pending.append(iter(edges.get(target, ())))
