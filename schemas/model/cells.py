"""From the text of a cell to its value, by the type of its column."""

import datetime as dt
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from schemas import roles, units
from schemas.codec import Json
from schemas.errors import UnitError
from schemas.model.folder import suggestion
from schemas.model.tables import Column

ID_CHARS_MAX: Final = 120
TEXT_CHARS_MAX: Final = 4000
LISTED_MAX: Final = 15
"""So many known words are listed where none is near."""
YES: Final = ("yes", "true", "1", "是")
NO: Final = ("no", "false", "0", "否")
SUB_ITEMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "A": ("1", "2", "3"),
        "B": ("1", "2"),
        "C": ("1", "2", "3"),
        "D": ("1", "2", "3", "4", "5", "6"),
    }
)
"""Sub-item codes of the technical guideline for sub-item energy data (2008): first and second level."""
SUB_ITEM_LETTERS: Final = MappingProxyType({"B1": "ABCDEF", "B2": "ABCDE"})
"""Third level, where there is one."""

_ID: Final = re.compile(r"[^\s;,\"'|]+")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_FRACTION: Final = re.compile(r"([0-9]{1,9})/([1-9][0-9]{0,8})")


class CellError(ValueError):
    """A cell is not of its column's type; the message goes into a fault.

    Attributes:
        word: what was written, where it should have been one of `known`.
        known: what would have been right.
    """

    def __init__(self, message: str, word: str = "", known: Collection[str] = ()) -> None:
        self.word = word
        self.known = known
        super().__init__(message)

    def hint(self) -> str:
        """What may have been meant; looking for it among hundreds of names takes a millisecond."""
        near = suggestion(self.word, self.known) if self.word else ""
        return near or (f"; known are {', '.join(self.known)}" if 0 < len(self.known) <= LISTED_MAX else "")


def convert(column: Column, text: str) -> Json:
    """The value of a cell; None for an empty one without default.

    References are not followed here.

    Raises:
        CellError: the text is not of the column's type.
    """
    if not text:
        if not column.default:
            return [] if column.type in ("ids", "texts", "refs", "media", "months") else None
        text = column.default
    return _CONVERTERS[column.type](column, text)


def _words(text: str, known: tuple[str, ...], what: str) -> str:
    if text in known:
        return text
    raise CellError(f"{text!r} is no {what}", text, known)


def _id(column: Column, text: str) -> str:
    if len(text) > ID_CHARS_MAX:
        raise CellError(f"an id of {len(text)} characters; at most {ID_CHARS_MAX}")
    if not _ID.fullmatch(text) or any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") for char in text):
        raise CellError(f"{text!r} is no {column.name}; no spaces, quotes, `;`, `,` or `|` in it")
    return text


def _text(column: Column, text: str) -> str:
    if len(text) > TEXT_CHARS_MAX:
        raise CellError(f"{column.name} has {len(text)} characters; at most {TEXT_CHARS_MAX}")
    return text


def _several(one: Callable[[Column, str], Json]) -> Callable[[Column, str], Json]:
    def convert_list(column: Column, text: str) -> Json:
        items = [one(column, item.strip()) for item in text.split(";") if item.strip()]
        return sorted(set(items), key=str)

    return convert_list


def _int(column: Column, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise CellError(f"{text!r} is no integer")
    value = int(text)
    low, high = (int(bound) for bound in column.argument)
    if not low <= value <= high:
        raise CellError(f"{column.name} {value} is outside of {low}..{high}")
    return value


def _fraction(text: str) -> Fraction:
    try:
        return units.parse_decimal(text)
    except UnitError as error:
        raise CellError(str(error)) from None


def _number(column: Column, text: str) -> str:
    value = _fraction(text)
    if column.argument and value < int(column.argument[0]):
        raise CellError(f"{column.name} {text} is below {column.argument[0]}")
    return units.text_of(value)


def _share(column: Column, text: str) -> str:
    match = _FRACTION.fullmatch(text)
    value = Fraction(int(match[1]), int(match[2])) if match else _fraction(text)
    if not 0 < value <= 1:
        raise CellError(f"{column.name} {text} is not above 0 and at most 1")
    return units.text_of(value)


def _bool(column: Column, text: str) -> bool:
    if text.lower() in (*YES, *NO):
        return text.lower() in YES
    raise CellError(f"{column.name} {text!r} is neither yes nor no")


def _date(column: Column, text: str) -> str:
    del column
    try:
        if _DATE.fullmatch(text):
            return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise CellError(f"{text!r} is no date; write YYYY-MM-DD")


def _clock(column: Column, text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise CellError(f"{text!r} is no time of day; write HH:MM, 00:00 to 24:00")
    if column.name == "from" and text == "24:00":
        raise CellError("a time cannot begin at 24:00; write 00:00")
    return text


def _zone(column: Column, text: str) -> str:
    del column
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise CellError(f"{text!r} is no time zone", text, zoneinfo.available_timezones()) from None
    return text


def _sign(column: Column, text: str) -> int:
    del column
    if text in ("+", "+1", "1"):
        return 1
    if text in ("-", "-1", "−"):
        return -1
    raise CellError(f"sign {text!r} is neither + nor -")


def _sub_item(column: Column, text: str) -> str:
    del column
    letter, digit, rest = text[:1], text[1:2], text[2:]
    fits = letter in SUB_ITEMS and (not digit or digit in SUB_ITEMS[letter])
    if fits and (not rest or (len(rest) == 1 and rest in SUB_ITEM_LETTERS.get(text[:2], ""))):
        return text
    known = ", ".join(key + number for key, numbers in SUB_ITEMS.items() for number in numbers)
    raise CellError(f"{text!r} is no sub-item code; known are {known}, and B1A-B1F, B2A-B2E")


def _month(column: Column, text: str) -> int:
    del column
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 12):
        raise CellError(f"{text!r} is no month; write 1 to 12, or a span like 6-8")
    return int(text)


def _months(column: Column, text: str) -> Json:
    found: set[int] = set()
    for item in text.split(";"):
        first, dash, last = (part.strip() for part in item.partition("-"))
        begin = _month(column, first)
        end = _month(column, last) if dash else begin
        found.update((begin + step - 1) % 12 + 1 for step in range((end - begin) % 12 + 1))
    return list(sorted(found))  # noqa: C413  a list of Json, which is invariant


def _unit(column: Column, text: str) -> str:
    del column
    return units.unit(text).name if units.known(text) else _words(text, units.names(), "unit")


_CONVERTERS: Final[Mapping[str, Callable[[Column, str], Json]]] = MappingProxyType(
    {
        "id": _id,
        "ref": _id,
        "text": _text,
        "ids": _several(_id),
        "refs": _several(_id),
        "texts": _several(_text),
        "media": _several(lambda _, text: _words(text, tuple(units.MEDIA), "medium")),
        "months": _months,
        "int": _int,
        "number": _number,
        "share": _share,
        "bool": _bool,
        "date": _date,
        "clock": _clock,
        "zone": _zone,
        "sign": _sign,
        "sub_item": _sub_item,
        "enum": lambda column, text: _words(text, column.argument, column.name),
        "role": lambda _, text: _words(text, tuple(roles.ROLES), "role"),
        "medium": lambda _, text: _words(text, tuple(units.MEDIA), "medium"),
        "unit": _unit,
    }
)
