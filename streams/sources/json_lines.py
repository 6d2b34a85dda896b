"""JSON lines to events: `ganzhi send` reads them from standard input.

A reading is `{"site": "S", "point": "P", "time": "2026-05-01T08:00:00+08:00", "value": 12.5}`, with `unit` where it is
not the point's own and `quality` (good, estimated, suspect). A time is ISO 8601 with an offset, or a number: seconds
since 1970, or milliseconds from 10^11 on. Whole events are `{"waste": {...}}` and `{"vehicle": {...}}`, with the fields
of their contracts; `time` and `start` may stand for time_ms and start_ms, and an event without `event_id` is named by
its content. Numbers are read as they are written, never through a float. A line that cannot be used is rejected with
its number and reason.
"""

import functools
import json
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from schemas.codec import MESSAGE_BYTES_MAX
from schemas.encode import QUALITIES, Mode
from schemas.errors import UnitError
from schemas.units import INT64_MAX, parse_decimal
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.csv_events import EventError, complete, fingerprint
from streams.sources.csv_readings import EARLIEST_MS, LATEST_MS
from streams.sources.decimals import Target
from streams.sources.rejects import Reject, Rejects
from streams.sources.times import TimeStyle

STDIN: Final = "-"
_ISO: Final = TimeStyle()
_READING: Final = frozenset(("site", "point", "time", "value", "unit", "quality"))
_POLL_S: Final = 0.2


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _LineError(ValueError):
    """A line that cannot be used, and why."""


@dataclass(slots=True)
class Sent:
    """What was sent and what was not."""

    lines: int = 0
    readings: int = 0
    events: int = 0
    rejected: int = 0


class LineSender:
    """Sends JSON lines.

    Args:
        writer: where to.
        catalog: the published model.
        rejects: takes the lines that cannot be used.
        mode: live or backfill.
        site: site of lines that name none.

    Attributes:
        result: counts so far.
    """

    def __init__(
        self, writer: BatchWriter, catalog: Catalog, rejects: Rejects, mode: Mode = "live", site: str | None = None
    ) -> None:
        self.result = Sent()
        self._writer = writer
        self._catalog = catalog
        self._rejects = rejects
        self._mode: Mode = mode
        self._site = site

    def run(self, lines: Iterable[bytes], progress: Callable[[Sent], None] | None = None) -> Sent:
        """Reads lines to the end and waits until the broker has all that was sent.

        A reading is sent at the latest a second after its line came, also when no other line comes.
        """
        waiting: queue.Queue[bytes | None] = queue.Queue(maxsize=100_000)
        threading.Thread(target=_feed, args=(lines, waiting), name="lines", daemon=True).start()
        while True:
            try:
                line = waiting.get(timeout=_POLL_S)
            except queue.Empty:
                self._writer.poll()
                continue
            if line is None:
                break
            self.take(line)
            if self.result.lines % 1000 == 0:
                self._writer.poll()
                if progress is not None:
                    progress(self.result)
        self._writer.flush()
        return self.result

    def take(self, raw: bytes) -> None:
        """Sends what one line holds, or rejects it; blank lines are nothing."""
        self.result.lines += 1
        if not raw.strip():
            return
        try:
            self._send(_parse(raw))
        except (_LineError, EventError, UnitError, LookupError) as error:
            self.result.rejected += 1
            reason = str(error.args[0]) if isinstance(error, LookupError) else str(error)
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            self._rejects.add(Reject(STDIN, self.result.lines, "", reason, text[:10_000]))

    def _send(self, line: dict[str, Any]) -> None:
        kinds = [kind for kind in ("waste", "vehicle") if kind in line]
        if kinds:
            extra = set(line) - {kinds[0], "site"}
            if extra:
                raise _LineError(f"unknown beside {kinds[0]!r}: {', '.join(sorted(extra))}")
            self._send_event(f"{kinds[0]}_event", line[kinds[0]], line.get("site", self._site))
            return
        extra = set(line) - _READING
        if extra:
            raise _LineError(f"unknown: {', '.join(sorted(extra))}; a reading has {', '.join(sorted(_READING))}")
        site = line.get("site", self._site)
        missing = [name for name in ("point", "time", "value") if name not in line] + ["site"] * (site is None)
        if missing:
            raise _LineError(f"a reading needs {', '.join(missing)}")
        point = self._catalog.point(_text(site, "site"), _text(line["point"], "point"))
        quality = line.get("quality", "good")
        if quality not in QUALITIES:
            raise _LineError(f"quality {quality!r} is none of {', '.join(QUALITIES)}")
        target = _target(point.unit, point.kind, _text(line.get("unit", ""), "unit"))
        time_ms, value = _time_ms(line["time"]), _number(line["value"])
        number = target.converter.exact(parse_decimal(value), value)
        self._writer.add(point.site, point.gateway, point.number, time_ms, number, QUALITIES.index(quality), self._mode)
        self.result.readings += 1

    def _send_event(self, contract: str, given: object, site: object) -> None:
        if not isinstance(given, dict):
            raise _LineError("an event is an object")
        fields: dict[str, object] = {"site": site} | given
        for short, full in (("time", "time_ms"), ("start", "start_ms")):
            if short in fields:
                fields[full] = _time_ms(fields.pop(short))
        for name, value in fields.items():
            if isinstance(value, _Number):
                fields[name] = _whole(name, value)
        if not fields.get("event_id"):
            fields["event_id"] = fingerprint(fields)
        event = complete(contract, fields, self._catalog)
        self._writer.event(event.topic, event.site, event.contract, event.value)
        self.result.events += 1


def _feed(lines: Iterable[bytes], waiting: "queue.Queue[bytes | None]") -> None:
    try:
        for line in lines:
            waiting.put(line)
    finally:
        waiting.put(None)


def _constant(text: str) -> object:
    raise _LineError(f"{text} is not a number that can be used")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _LineError("a name stands twice in an object")
    return found


def _parse(raw: bytes) -> dict[str, Any]:
    if len(raw) > MESSAGE_BYTES_MAX:
        raise _LineError(f"a line of {len(raw)} bytes")
    try:
        line = json.loads(
            raw.decode("utf-8"),
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_constant,
            object_pairs_hook=_pairs,
        )
    except UnicodeDecodeError:
        raise _LineError("not UTF-8") from None
    except RecursionError:
        raise _LineError("not JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _LineError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(line, dict):
        raise _LineError("not a JSON object")
    return line


@functools.lru_cache(maxsize=4096)
def _target(unit: str, kind: str, written_in: str) -> Target:
    return Target.of(unit, kind, written_in)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _LineError(f"{name} must be a text")
    return value


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, str):
        raise _LineError("value must be a number")
    return value


def _whole(name: str, value: str) -> int:
    number = parse_decimal(value)
    if number.denominator != 1 or abs(number) > INT64_MAX:
        raise _LineError(f"{name} must be a whole number of 64 bits")
    return int(number)


def _time_ms(value: object) -> int:
    if isinstance(value, _Number):
        number = parse_decimal(value)
        time_ms = int(number) if abs(number) >= 10**11 else int(number * 1000)
    else:
        text = _text(value, "time")
        if not text.rstrip().endswith(("Z", "z")) and not any(sign in text[10:] for sign in "+-"):
            raise _LineError(f"time {text[:60]!r} has no offset; write Z or +08:00")
        try:
            time_ms = _ISO.one(text)
        except ValueError as error:
            raise _LineError(f"time: {error}") from None
    if time_ms < EARLIEST_MS:
        raise _LineError("the time is before 2000")
    if time_ms > LATEST_MS:
        raise _LineError("the time is after 2200")
    return time_ms
