"""How every alert stood at some offsets, in a file, so that a start reads what came since and not the whole log.

A cache and nothing else: a file that is absent, torn, of another release, of other topics, of other prices, or that
does not fit the log is as good as none, and the log is read from its beginning. What a projection makes of a file and
of what comes after its offsets is what it makes of the whole log.

The file is the sha256 of the rest, and the rest is JSON, packed by zlib. Marks that follow from a history (what
overlaps, what counts for nothing, work orders) are not in it: they are made again.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from schemas import codec
from schemas.errors import ActionError
from schemas.hours import Hours
from schemas.matchers import Matcher
from schemas.settings import data_home
from schemas.whole_files import write_whole
from sinks.desk.actions import Action
from sinks.desk.follower import Place
from sinks.desk.projection import Alert, Entry, Flow, Projection, Silence
from sinks.desk.sites import Site

_FORMAT: Final = 1
_HASH_BYTES: Final = 32
_LEVEL: Final = 1
_BYTES_MAX: Final = 1 << 30
"""Unpacked; some two million alerts. A file that would be larger is not believed."""
_ALERT: Final = ("state", "severity", "valid_at", "started_at", "known_at", "since_known_at", "cost")
_SILENCE: Final = ("id", "kind", "site", "until_ms", "by", "comment", "reason", "known_at", "ended_at", "ended_by")
_ACTION: Final = tuple(field.name for field in dataclasses.fields(Action) if field.name != "photo")


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that was read.

    Attributes:
        positions: (topic, partition) → offset of the first message that is not in it.
        topics: topic → the broker's id of it; another one is another log.
        content: of the projection; see `thaw`.
    """

    positions: dict[Place, int]
    topics: dict[str, str]
    content: dict[str, Any]


def file_of(profile: str, process: str) -> Path:
    """Where a process of a profile (console, notify) keeps its checkpoint."""
    return data_home(profile) / f"desk-{process}.checkpoint"


def save(file: Path, projection: Projection, positions: Mapping[Place, int], topics: Mapping[str, str]) -> None:
    """Writes a file whole or not at all; a fault of the disk is the same as no file.

    Args:
        file: the one before it is replaced.
        projection: as it stands at the positions.
        positions: offsets of the next messages.
        topics: topic → the broker's id of it.
    """
    content = {
        "release": _release(),
        "topics": dict(topics),
        "positions": [[topic, partition, offset] for (topic, partition), offset in positions.items()],
        **freeze(projection),
    }
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), _LEVEL)
    with suppress(OSError):
        write_whole(file, hashlib.sha256(packed).digest(), packed)


def load(file: Path) -> Checkpoint | None:
    """Reads a file; None: there is none that can be used."""
    try:
        raw = file.read_bytes()
    except OSError:
        return None
    told, packed = raw[:_HASH_BYTES], raw[_HASH_BYTES:]
    if hashlib.sha256(packed).digest() != told:
        return None
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, _BYTES_MAX)
        content: dict[str, Any] = json.loads(text) if unpacking.eof else {}
        if content.get("release") != _release():
            return None
        positions = {(topic, partition): offset for topic, partition, offset in content["positions"]}
        return Checkpoint(positions, content["topics"], content)
    except (zlib.error, ValueError, KeyError, TypeError):
        return None


def freeze(projection: Projection) -> dict[str, Any]:
    """What a projection holds, as JSON can."""
    return {
        "prices": {name: pricing(site) for name, site in projection.sites.items()},
        "alerts": [
            [
                *one.key,
                *(getattr(one, name) for name in _ALERT),
                [[medium, unit, amount] for (medium, unit), amount in one.wasted.items()],
                list(one.parts.items()),
                None if one.estimate is None else dataclasses.astuple(one.estimate),
                [_frozen(entry) for entry in one.history],
            ]
            for one in projection.alerts.values()
        ],
        "early": [[*key, [_frozen(entry) for entry in entries]] for key, entries in projection.early.items()],
        "early_parts": [[dict(row) for row in rows] for rows in projection.early_parts.values()],
        "silences": [
            [*(getattr(one, name) for name in _SILENCE), str(one.matcher), str(one.hours)]
            for one in projection.silences.values()
        ],
        "events": sorted(projection.events),
    }


def thaw(content: Mapping[str, Any], sites: Mapping[str, Site]) -> Projection | None:
    """The projection of a file.

    Args:
        content: as `freeze` made it.
        sites: what the documents in force say.

    Returns:
        None where quantities or costs would be others by these documents, or where it cannot be read.
    """
    projection = Projection(sites)
    try:
        named = {one[0] for one in content["alerts"]} | {row["site"] for rows in content["early_parts"] for row in rows}
        for name in named:
            if content["prices"].get(name) != (pricing(sites[name]) if name in sites else None):
                return None
        for row in content["alerts"]:
            key, values, (wasted, parts, flow, history) = tuple(row[:4]), row[4:-4], row[-4:]
            alert = Alert(key, **dict(zip(_ALERT, values, strict=True)))
            alert.wasted = {(medium, unit): amount for medium, unit, amount in wasted}
            alert.parts = dict(parts)
            alert.estimate = None if flow is None else Flow(*flow)
            alert.history = [_thawed(entry) for entry in history]
            projection.alerts[key] = alert
            if any(entry.action for entry in alert.history):
                projection.judge(alert)
        for row in content["early"]:
            projection.early[tuple(row[:4])] = [_thawed(entry) for entry in row[4]]
        for rows in content["early_parts"]:
            first = rows[0]
            projection.early_parts[first["site"], first["rule"], first["subject"], first["episode"]] = rows
        for *row, matcher, hours in content["silences"]:
            more = dict(zip(_SILENCE, row, strict=True))
            silence = Silence(matcher=Matcher.parse(matcher), hours=Hours.parse(hours), **more)
            projection.silences[silence.id] = silence
        projection.events.update(content["events"])
    except (ValueError, KeyError, TypeError, IndexError, ActionError):
        return None
    return projection


def pricing(site: Site) -> str:
    """Names what quantities, costs and estimates of a site's alerts follow from: points, tariffs, hours, estimates."""
    document = site.document
    tables = [document.table(name) for name in ("sites", "points", "tariffs", "schedules")]
    estimating = {
        name: [rule["estimate"], rule.get("roles")] for name, rule in site.rules.items() if rule.get("estimate")
    }
    said = json.dumps([tables, document.calendars, estimating], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()


def _release() -> list[str]:
    """Of the code that made a file: another one may see the same log otherwise."""
    shapes = [field.name for kind in (Alert, Entry, Flow, Silence, Action) for field in dataclasses.fields(kind)]
    contracts = [codec.fingerprint(name).hex() for name in ("alert_action", "alert_rows", "episode_rows")]
    return [str(_FORMAT), importlib.metadata.version("ganzhi"), *contracts, *shapes]


def _frozen(entry: Entry) -> list[Any]:
    if entry.action is None:
        return [entry.known_at, entry.what, entry.severity, entry.offset]
    action = [getattr(entry.action, name) for name in _ACTION]
    return [entry.known_at, entry.offset, entry.photo, action]


def _thawed(row: list[Any]) -> Entry:
    if not isinstance(row[3], list):
        known_at, what, severity, offset = row
        return Entry(known_at, what, severity, offset=offset)
    known_at, offset, photo, action = row
    did = Action(**dict(zip(_ACTION, action, strict=True)))
    return Entry(known_at, did.kind, action=did, offset=offset, photo=photo)
