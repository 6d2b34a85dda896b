"""Cases of rules: a span of readings and what the rule has to make of it, beside the pack that has the rule.

    pack: builtin/lighting               # or a file beside this one
    cases:
      LightsInEmptyRoom:
        subject: {space: office}         # one of those that the rule runs on
        every: 1m                        # between readings
        at: 2026-03-02 09:00             # local, Asia/Shanghai; a Monday where it is absent
        with: {light: {rated: 400}}      # more columns of a role's point
        params: {power: 100 W}           # as an override would
        normal: {light: 120 W x40m, people: 2 x40m}
        fault: {light: 120 W x30m 0 W x10m, people: 0 x40m, expect: [firing 20m, resolved 30m]}
        gap: {light: 120 W x10m _ x5m 120 W x30m, people: 0 x45m, expect: [firing 22m]}
        disorder: {like: fault, late: 3m}

`120 W x30m` are readings of that value for half an hour, `_` is silence, `1..5 W x30m` rises evenly. A register or
delta is written as its usage between two readings, and counts on at its last pace in a silence. `light/2` is the role
in a second subject of the same kind, a sibling. Lines of `expect` are `firing`, `resolved`, `stale`, or a severity that
the alert steps up to, and when that became so, counted from the first reading. `like` begins with another case; `late`
delivers every third reading so much later, `twice` sends everything again with other values, `jitter` moves readings,
`starts` leaves out what comes before, `behind` is a clock that is late, `without` removes roles (then there must be no
instance: `expect: none`), `told` is when somebody says that the meter of a register that falls (`-500 Wh x15m`) was
swapped there.
"""

import dataclasses
import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.errors import Fault, ModelError
from schemas.rules.format import parse_duration
from schemas.rules.reading import CASES, Lines, read_built_in, read_cases, read_pack

NAMES: Final = (
    "normal", "fault", "boundary", "gap", "disorder", "duplicate", "missing", "startup", "irregular",
)  # fmt: skip
"""What every rule of a pack that comes with the product is tried on (the fixtures of open-fdd)."""

ZONE: Final = zoneinfo.ZoneInfo("Asia/Shanghai")
START: Final = "2026-03-02 09:00"
STATES: Final = ("firing", "resolved", "stale", "info", "warning", "critical")
NO_INSTANCE: Final = "none"
READINGS_MAX: Final = 200_000

_SPAN = re.compile(r"\s*(_|-?[\d.]+(?:\.\.-?[\d.]+)?)\s*([^\sx_\d.-][^\s]*)?\s*x\s*([0-9][0-9a-z]*)")
_SETTINGS: Final = ("subject", "every", "at", "with", "params")
_MARKS: Final = (
    "like",
    "late",
    "twice",
    "jitter",
    "starts",
    "without",
    "behind",
    "told",
    "expect",
    "at",
    "every",
    "params",
    "with",
)


@dataclasses.dataclass(frozen=True)
class Series:
    """Readings of one role: values in the unit, None for silence, one every `every_ms`."""

    unit: str
    values: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        rule: name of the rule.
        name: of the case.
        file: where it is written.
        sort: of the subject.
        kind: of the subject.
        start_ms: UTC, time of the first reading.
        every_ms: between readings.
        series: (role, subject from 1 on) → readings.
        columns: role → more columns of its point.
        params: thresholds other than the pack's.
        expected: (state, ms after the start) of every change; None: the rule has no instance.
        late_ms: every third reading comes so much later.
        twice: everything comes again, with other values.
        jitter_ms: readings are early or late by up to so much.
        without: roles that are not there.
        behind_ms: readings of the subject carry a time that is so far back.
        told_ms: when the swap of a register that fell is told; 0: never.
    """

    rule: str
    name: str
    file: str
    sort: str
    kind: str
    start_ms: int
    every_ms: int
    series: Mapping[tuple[str, int], Series]
    columns: Mapping[str, Mapping[str, str]]
    params: Mapping[str, str]
    expected: tuple[tuple[str, int], ...] | None
    late_ms: int = 0
    twice: bool = False
    jitter_ms: int = 0
    without: tuple[str, ...] = ()
    behind_ms: int = 0
    told_ms: int = 0


def read_folder(folder: Path) -> Iterator[tuple[tuple[dict[str, Any], Lines], list[Case]]]:
    """Packs that the case files of a folder name, with their cases.

    Raises:
        ModelError: there is no case file, or one is wrong.
    """
    files = sorted(folder.rglob(f"*{CASES}")) if folder.is_dir() else [folder]
    if not files:
        raise ModelError([Fault(str(folder), 0, f"has no cases; they are in NAME{CASES} beside a pack NAME.yaml")])
    for file in files:
        try:
            raw = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError([Fault(str(file), 0, f"cannot be read: {error}")]) from error
        yield _read(raw, str(file), file.parent)


def read_of_built_in(name: str) -> tuple[tuple[dict[str, Any], Lines], list[Case]]:
    """A pack that comes with the product, and its cases.

    Raises:
        ModelError: there is none of that name.
    """
    return _read(read_cases(name), f"{name}{CASES}", None)


def _read(raw: str, file: str, folder: Path | None) -> tuple[tuple[dict[str, Any], Lines], list[Case]]:
    try:
        found = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        line = error.problem_mark.line + 1 if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else 0
        raise ModelError([Fault(file, line, f"not YAML: {error}")]) from error
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("cases"), dict)
        or not isinstance(found.get("pack"), str)
    ):
        raise ModelError([Fault(file, 1, "a case file is a mapping with `pack` and `cases`")])
    name = found["pack"]
    pack = read_built_in(name) if folder is None or name.startswith("builtin/") else read_pack(folder / name)
    cases = []
    for rule, body in found["cases"].items():
        line = _line(raw, str(rule))
        if not isinstance(body, dict):
            raise ModelError([Fault(file, line, f"{rule}: its cases are a mapping")])
        settings = {key: body[key] for key in _SETTINGS if key in body}
        own = {str(key): value for key, value in body.items() if key not in _SETTINGS}
        for case in own:
            try:
                cases.append(_case(str(rule), case, file, settings, own))
            except (ValueError, KeyError, TypeError, AttributeError, zoneinfo.ZoneInfoNotFoundError) as error:
                raise ModelError([Fault(file, line, f"{rule}, {case}: {error}")]) from error
    return pack, cases


def _line(raw: str, rule: str) -> int:
    return next((number for number, text in enumerate(raw.splitlines(), 1) if text.strip().startswith(f"{rule}:")), 0)


def _case(rule: str, name: str, file: str, settings: Mapping[str, Any], own: Mapping[str, Any]) -> Case:
    body: dict[str, Any] = dict(own[name])
    seen = {name}
    while "like" in body:
        base = str(body.pop("like"))
        if base in seen or base not in own:
            raise ValueError(f"`like: {base}` is no other case of the rule")
        seen.add(base)
        body = {**own[base], **body}
    own_settings: dict[str, Any] = {key: body[key] for key in ("at", "every", "params", "with") if key in body}
    merged: dict[str, Any] = {**settings, **own_settings}
    subject: dict[str, str] = merged["subject"]
    ((sort, kind),) = subject.items()
    every_ms = parse_duration(str(merged.get("every", "1m")))
    starts_ms = parse_duration(str(body.get("starts", "0s")))
    without = tuple(_words(body.get("without", [])))
    series: dict[tuple[str, int], Series] = {}
    for key, text in body.items():
        if key in _MARKS:
            continue
        role, _, number = str(key).partition("/")
        found = parse_series(str(text), every_ms)
        kept = tuple(None if at * every_ms < starts_ms else value for at, value in enumerate(found.values))
        series[role, int(number or 1)] = Series(found.unit, kept)
    start = dt.datetime.fromisoformat(str(merged.get("at", START))).replace(tzinfo=ZONE)
    return Case(
        rule,
        name,
        file,
        str(sort),
        str(kind),
        round(start.timestamp()) * 1000,
        every_ms,
        series,
        _columns(merged.get("with", {})),
        _texts(merged.get("params", {})),
        _expected(body.get("expect", [])),
        parse_duration(str(body.get("late", "0s"))),
        bool(body.get("twice", False)),
        parse_duration(str(body.get("jitter", "0s"))),
        without,
        parse_duration(str(body.get("behind", "0s"))),
        parse_duration(str(body.get("told", "0s"))),
    )


def _columns(value: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, str]]:
    return {str(role): _texts(more) for role, more in value.items()}


def _texts(value: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(cell).lower() if isinstance(cell, bool) else str(cell) for name, cell in value.items()}


def _words(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def _expected(value: object) -> tuple[tuple[str, int], ...] | None:
    if value == NO_INSTANCE:
        return None
    found = []
    for line in _words(value):
        state, _, when = line.partition(" ")
        if state not in STATES:
            raise ValueError(f"{state!r} is no state; {', '.join(STATES)} are")
        found.append((state, parse_duration(when.strip())))
    return tuple(found)


def parse_series(text: str, every_ms: int) -> Series:
    """Readings of a text such as `120 W x30m _ x5m 0 W x10m`.

    Raises:
        ValueError: it is none.
    """
    values: list[str | None] = []
    unit, at = "", 0
    while at < len(text.rstrip()):
        match = _SPAN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at:]!r} is not readings; write `120 W x30m`, `_ x5m` or `1..5 W x30m`")
        value, its_unit, span = match.groups()
        count = parse_duration(span) // every_ms
        if len(values) + count > READINGS_MAX:
            raise ValueError(f"more than {READINGS_MAX:,} readings")
        if its_unit and unit and its_unit != unit:
            raise ValueError(f"{its_unit} after {unit}; a series has one unit")
        unit = unit or its_unit or ""
        values += _values(value, count)
        at = match.end()
    return Series(unit, tuple(values))


def _values(text: str, count: int) -> list[str | None]:
    if text == "_":
        return [None] * count
    low, dots, high = text.partition("..")
    if not dots:
        return [low] * count
    first, last = float(low), float(high)
    return [f"{first + (last - first) * at / max(count - 1, 1):.3f}" for at in range(count)]
