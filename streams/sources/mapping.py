"""Mapping files: what the columns of somebody's CSV files mean (YAML).

A mapping has one or more `tables`; one alone may stand without that word. In texts, `{name}` stands for a column of the
row or for a part of the file's path that `files` names the same way.

    tables:
      - files: "{building}/electricity/*.csv"      # under the folder that is imported; absent: every file given
        site: campus
        mode: backfill                              # or live: rules and alerts see the readings
        time: {column: datetime, format: iso, zone: UTC, stamp: start}
        wide:                                       # a column is a point
          "equipment load [kWh]": {point: "{building}.electricity", unit: kWh}
      - files: "export/*.csv"
        site: "{site}"
        encoding: gb18030
        delimiter: ";"
        decimal: ","
        nulls: ["NA", "-9999"]
        words: {on: 1, off: 0}                      # of states; large or small letters
        time: {column: ts, format: "%d/%m/%Y %H:%M", zone: Europe/London, fold: first}
        long:                                       # a row is a reading
          point: "{meter}.{register}"
          points: {"4711.1.8.0": main.import}       # absent, or not in it: the text is the id of the point
          value: {column: reading, unit: kWh, factor: 0.1, round: half_even}
        quality: {column: flag, estimated: [E], suspect: [S]}
      - files: "bins.csv"
        site: edinburgh
        time: {column: When, zone: Europe/London}
        events:                                     # a row is one event or several
          - contract: waste_event
            fields:
              event_id: "{ID}"
              kind: collected
              station: "{Site}"
              mass_g: {number: "kg", factor: 1000, round: half_even}
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.errors import ConfigurationError
from schemas.rules.language import suggest
from streams.sources.times import Fold, TimeStyle

_PLACE: Final = re.compile(r"\{([^{}]+)\}")


def _fraction(value: object) -> object:
    """A factor exactly as it is written: YAML's 0.1 is the decimal, not the nearest float."""
    try:
        return Fraction(str(value))  # of a YAML number: its shortest text, which is the one that was written
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError("a factor is a number, or a fraction like 1/3") from error


Factor = Annotated[Fraction, BeforeValidator(_fraction)]


def _text(value: object) -> object:
    """YAML reads `-9999` and `4711` as numbers; in a table they are texts."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_TRUTHS: Final = {True: ("true", "on", "yes"), False: ("false", "off", "no")}
"""YAML reads these words as one."""


def _words(value: object) -> object:
    if not isinstance(value, dict):
        return value
    found: dict[object, object] = {}
    for word, number in value.items():
        for text in _TRUTHS[word] if isinstance(word, bool) else (str(word).lower(),):
            found[text] = _text(number)
    return found


Text = Annotated[str, BeforeValidator(_text)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Time(_Part):
    """Where and how the time of a row is written."""

    column: str
    format: str = Field(default="iso", description="iso, epoch_s, epoch_ms, or a strptime pattern")
    zone: str = Field(default="UTC", description="IANA zone of times without an offset")
    fold: Fold = "reject"
    add_years: int = Field(default=0, description="added to every year, for files that write 0014")
    stamp: Literal["start", "end"] = Field(default="end", description="which end of a delta's interval a time names")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {zone!r}; an IANA name like Asia/Shanghai is wanted") from error
        return zone

    @field_validator("format")
    @classmethod
    def _usable(cls, text: str) -> str:
        if text not in ("iso", "epoch_s", "epoch_ms") and "%" not in text:
            raise ValueError("iso, epoch_s, epoch_ms, or a strptime pattern such as %d/%m/%Y %H:%M")
        return text

    def style(self) -> TimeStyle:
        """What `times` needs."""
        return TimeStyle(self.format, self.zone, self.fold, self.add_years)


class Number(_Part):
    """How the numbers of a column are meant."""

    unit: str = Field(default="", description="unit of the numbers; empty: the point's own")
    factor: Factor = Fraction(1)
    round: Literal["", "half_even"] = ""


class WideColumn(Number):
    """A column that is a point."""

    point: str


class LongValue(Number):
    """The column that has the readings of all points."""

    column: str


class Long(_Part):
    """A row is a reading."""

    point: str
    value: LongValue
    points: dict[Text, Text] = Field(default_factory=dict)


class Quality(_Part):
    """What the publisher says of a reading; any other text, and no text, is good."""

    column: str
    estimated: list[str] = Field(default_factory=list)
    suspect: list[str] = Field(default_factory=list)


class NumberField(_Part):
    """A whole number in an event: a column times a factor."""

    number: str
    factor: Factor = Fraction(1)
    round: Literal["", "half_even"] = ""


class TimeField(_Part):
    """A further time in an event, written like that of the row."""

    time: str


class TextField(_Part):
    """A text in an event, looked up in `map` where that is given."""

    text: str
    map: dict[str, str] = Field(default_factory=dict)


class Event(_Part):
    """One event that a row makes; its time is the row's."""

    contract: Literal["waste_event", "vehicle_event"]
    fields: dict[str, str | NumberField | TimeField | TextField]


class Table(_Part):
    """Files of one kind."""

    site: str
    time: Time
    files: str = ""
    mode: Literal["live", "backfill"] = "backfill"
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    skip_lines: int = Field(default=0, ge=0)
    header: list[str] = Field(default_factory=list, description="names of the columns, where the file has none")
    nulls: list[Text] = Field(default_factory=list)
    words: Annotated[dict[str, str], BeforeValidator(_words)] = Field(default_factory=dict)
    wide: dict[str, WideColumn] = Field(default_factory=dict)
    long: Long | None = None
    events: list[Event] = Field(default_factory=list)
    quality: Quality | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Table":
        if sum(map(bool, (self.wide, self.long, self.events))) != 1:
            raise ValueError("exactly one of wide, long and events is wanted")
        if self.decimal in (self.thousands, self.delimiter) or not self.delimiter.isascii():
            raise ValueError("delimiter, decimal mark and mark of thousands must be different ASCII characters")
        try:
            b" ".decode(self.encoding)
        except (LookupError, ValueError) as error:
            raise ValueError(f"unknown encoding {self.encoding!r}") from error
        return self

    def paths(self, given: list[Path]) -> list[tuple[Path, Mapping[str, str]]]:
        """Files of this table among files and folders, in order of their names, with the named parts of their paths."""
        if not self.files:
            return [(path, {}) for path in given if path.is_file()]
        pattern = _path_pattern(self.files)
        found: dict[Path, Mapping[str, str]] = {}
        for root in given:
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                match = pattern.fullmatch(path.relative_to(root).as_posix() if root.is_dir() else path.name)
                if match and path.is_file():
                    found[path] = match.groupdict()
        return list(found.items())


class MappingFile(_Part):
    """A mapping file."""

    tables: list[Table] = Field(min_length=1)


def _path_pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\}|\*)", glob)
    named: set[str] = set()
    pattern = ""
    for part in parts:
        if part == "*":
            pattern += "[^/]*"
        elif part.startswith("{"):
            name = part[1:-1]
            pattern += f"(?P={name})" if name in named else f"(?P<{name}>[^/]+)"
            named.add(name)
        else:
            pattern += re.escape(part)
    return re.compile(pattern)


def places(template: str) -> list[str]:
    """Names that a text has in braces."""
    return _PLACE.findall(template)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts values in place of the names in braces.

    Raises:
        KeyError: a name has no value.
    """
    return _PLACE.sub(lambda match: values[match[1]], template)


_SHAPES: Final[Mapping[int | str, str]] = {
    "site": "site: lab",
    "time": "time: {column: time, zone: Asia/Shanghai}",
    "wide": "wide: {CO2: {point: co2, unit: ppm}}",
    "long": 'long: {point: "{sensor}", value: {column: reading, unit: kWh}}',
    "value": "value: {column: reading, unit: kWh}",
    "events": "events: [{contract: waste_event, fields: {kind: collected}}]",
    "quality": "quality: {column: flag, estimated: [E]}",
}
"""What the places of a table look like."""


def load(path: Path) -> list[Table]:
    """Reads a mapping file.

    Raises:
        ConfigurationError: it cannot be read, or is not a mapping; the message says where.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"mapping {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"mapping {path} is not YAML: {error}") from error
    if isinstance(raw, dict) and "tables" not in raw:
        raw = {"tables": [raw]}
    if not isinstance(raw, dict):
        raise ConfigurationError(f"mapping {path} has no table; it must say site, time, and wide, long or events")
    try:
        return MappingFile.model_validate(raw).tables
    except ValidationError as error:
        lines = [_told(item["loc"], item["type"], item["msg"]) for item in error.errors(include_input=False)]
        raise ConfigurationError(f"mapping {path}:\n" + "\n".join(lines)) from None


_KNOWN: Final = (*Table.model_fields, "tables")


def _told(place: tuple[int | str, ...], kind: str, message: str) -> str:
    """A fault as its reader knows the file: where, what, and what such a place looks like."""
    alone = place[2:] if place[:2] == ("tables", 0) else place
    shape = next((_SHAPES[part] for part in reversed(alone) if part in _SHAPES), None)
    if kind in ("model_type", "dict_type", "model_attributes_type", "list_type", "missing") and shape:
        message = f"{'is missing' if kind == 'missing' else 'is not what stands here'}; for example {shape}"
    elif kind == "extra_forbidden":
        message = "there is no such word" + (f"; for example {shape}" if shape else suggest(str(alone[-1]), _KNOWN))
    return f"{'.'.join(map(str, alone)) or 'the file'}: {message.removeprefix('Value error, ')}"
