"""Episodes computed again in event-time order, and what differs from those that were published.

Rules look at several points at once, so a span is run with every point that an affected rule looks at, through the step
that the live task uses, its clock being the time of the readings. Only episodes that touch the span in which late
readings, late facts or a mended model may have misled a rule are compared: an episode that nothing late touches stays
as it was published. What is open, on either side, waits until it has ended.

A difference is a retraction of what was known, or an addition; an episode that has become longer or shorter is one of
each, under the number of the one that was known, so that it stays the episode that people talk of. One that nobody
has known gets the time of its start for a number.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from processors.advance import Documents, Processor
from processors.affected import Affected
from processors.arrivals import Readings, Version
from processors.episodes import STATES, Book, Episode, Name, Part, some
from processors.events import Feed
from processors.kernels.rows import Longs
from processors.layout import DAY_MS
from processors.outputs import Named
from processors.state import CLOSED, FAR, FIRING, IDLE, NEVER, PENDING
from schemas.canonical import key
from schemas.model.document import Document

RETRACTED: Final = 0
ADDED: Final = 1
KINDS: Final = ("retracted", "added")

_WARM_MS: Final = 2 * DAY_MS
"""Read before a span so that every value of it is known."""
_WARM_LONG_MS: Final = 100 * DAY_MS
"""The same where a rule looks back: at most over 60 working days, with the other days between them."""
_NO_OUTAGE_MS: Final = 1 << 52
_FEED_AT_ONCE: Final = 200_000

Collect = Callable[[Longs], Readings]
"""Reads the points of a site again: by number, from when to when."""


@dataclasses.dataclass(frozen=True)
class Change:
    """An episode that is taken back or added.

    Attributes:
        kind: RETRACTED or ADDED.
        episode: which.
    """

    kind: int
    episode: Episode


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a settlement publishes of episodes.

    Attributes:
        listed: retractions and additions, by rule, subject and time; of one episode the retraction comes first.
        parts: (rule and subject, number, part, quantity) to be added to what was wasted.
    """

    listed: tuple[Change, ...] = ()
    parts: tuple[tuple[Name, int, Part, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class _Ran:
    """What rules made of a span.

    Attributes:
        book: the episodes.
        going_on: those that go on, or still waste, or may become one, at its end: when each began.
    """

    book: Book
    going_on: dict[tuple[Name, int], int]


def known(live: Iterable[Episode], changes: Sequence[Changes], names: Iterable[Name]) -> list[Episode]:
    """The episodes that stand: those of the live task with what settlements have changed of them.

    Args:
        live: of these rules and subjects.
        changes: of the site, in the order in which they were published.
        names: rules and subjects.
    """
    wanted = set(names)
    found = {(one.name, one.number): one for one in live}
    wasted = {place: dict(one.parts) for place, one in found.items()}
    for earlier in changes:
        for change in earlier.listed:
            one = change.episode
            if one.name in wanted and change.kind == RETRACTED:
                found.pop((one.name, one.number), None)
            elif one.name in wanted:
                found[one.name, one.number] = one
        for name, number, part, quantity in earlier.parts:
            if name in wanted:
                own = wasted.setdefault((name, number), {})
                own[part] = own.get(part, 0) + quantity
    return [dataclasses.replace(one, parts=some(wasted.get(place, {}))) for place, one in found.items()]


def unfinished(processor: Processor, site: str) -> dict[tuple[Name, int], int]:
    """Episodes of a site that go on or still waste, and those that may become one: by number, when each began."""
    arrays, state = processor.layout.arrays, processor.state
    own = arrays.rules["site"] == processor.layout.sites.index(site)
    names, instances = processor.layout.instance_names, state.instances
    found = {}
    for instance in np.flatnonzero(own & (instances["phase"] != IDLE)).tolist():
        row = instances[instance]
        pending = row["phase"] == PENDING
        place = (names[instance], int(row["episode"]) + int(pending))
        found[place] = int(row["true_since"] if pending else row["started"])
    for part in np.flatnonzero(own[arrays.part_instance] & (state.parts["open"] != CLOSED)).tolist():
        instance, row = int(arrays.part_instance[part]), state.parts[part]
        if instances["phase"][instance] == FIRING or row["end"] != NEVER:
            place = (names[instance], int(row["episode"]))
            found.setdefault(place, int(instances["started"][instance]))
    return found


class Rerun:
    """The rules of one site by the time of the events.

    Args:
        task: input topic and partition.
        documents: finds documents.
        site: which.
        versions: of the site, and the rules of each.
        told: messages of the facts that stand, in the order in which they happened.
        clock_ms: the clock of the live task; nothing happens after it.
        collect: reads points again.
    """

    def __init__(
        self,
        task: tuple[str, int],
        documents: Documents,
        site: str,
        versions: Sequence[tuple[Version, Affected]],
        told: Sequence[bytes],
        clock_ms: int,
        collect: Collect,
    ) -> None:
        self._task = task
        self._documents = documents
        self._site = site
        self._versions = [version for version, _ in versions]
        self._affected = [affected for _, affected in versions]
        self._told = told
        self._clock_ms = clock_ms
        self._collect = collect

    def difference(
        self,
        live: Callable[[Iterable[Name]], list[Episode]],
        going_on: set[tuple[Name, int]],
        stirred: Longs,
        span: tuple[int, int],
    ) -> Changes:
        """What has to be published.

        Args:
            live: the episodes of some rules and subjects as they stand.
            going_on: those that are open.
            stirred: by number of point, from when to when it is not what the live task took it for.
            span: what is settled.
        """
        spans = self.spans(stirred, span)
        if not spans:
            return Changes()
        numbers = self._numbers(spans)
        before = live(spans)
        first = min(start for start, _ in spans.values())
        last = max(end for _, end in spans.values())
        first = min([first, *(one.started_ms for one in before if _touches(one, spans[one.name], going_on))])
        looks = any(len(version.layout.arrays.window_infos) for version in self._versions)
        warm = _WARM_LONG_MS if looks else _WARM_MS
        low, high = first - warm, min(last + _WARM_MS, self._clock_ms)
        while True:
            ran, first_of = self._run(numbers, low, high)
            groups = _groups(before, ran.book.of(self._site, spans), spans, going_on, set(ran.going_on))
            begins = min((one.started_ms for group in groups for one in group.all()), default=first)
            # A point that is first read when an episode begins may have held another value before.
            late = begins < low + warm // 2 or any(first_of.get(number, FAR) >= begins for number in numbers)
            if late and low != NEVER:
                low = NEVER
            elif high < self._clock_ms and any(
                name in spans and began <= spans[name][1] for (name, _), began in ran.going_on.items()
            ):
                high = self._clock_ms
            else:
                return _changes([group for group in groups if not group.is_open and self._judged(group)])

    def _judged(self, group: "_Group") -> bool:
        """Whether rules were there: what was imported from before the first document is not judged after the fact."""
        return bool(group.before) or group.after[0].started_ms >= self._versions[0].since_ms

    def spans(self, stirred: Longs, span: tuple[int, int]) -> dict[Name, tuple[int, int]]:
        """By rule and subject when they may have been misled, within what is settled."""
        found: dict[Name, tuple[int, int]] = {}
        late = [(one.since_ms, one.known_ms) for one in self._versions[1:] if one.since_ms < one.known_ms]
        everywhere = [np.tile(np.array([whole], np.int64), (len(stirred), 1)) for whole in late]
        for affected in self._affected:
            for name, (start, end) in (
                (affected.names[instance], misled)
                for by_number in (stirred, *everywhere)
                for instance, misled in affected.spans(by_number).items()
            ):
                low, high = max(start, span[0]), min(end, span[1])
                if low <= high:
                    old = found.get(name, (FAR, NEVER))
                    found[name] = (min(low, old[0]), max(high, old[1]))
        return found

    def _numbers(self, spans: Iterable[Name]) -> list[int]:
        names, found = set(spans), set[int]()
        for affected in self._affected:
            found |= affected.numbers([affected.index[name] for name in names if name in affected.index])
        return sorted(found)

    def _run(self, numbers: list[int], low: int, high: int) -> tuple[_Ran, dict[int, int]]:
        """(what the rules made of these points over a span, time of the first reading of each)."""
        bounds = np.tile(np.array([[FAR, NEVER]], np.int64), (max(numbers) + 1, 1))
        bounds[numbers] = [low, high]
        read = self._collect(bounds)
        order = np.lexsort((read.numbers, read.times))
        at, points = read.times[order], read.numbers[order]
        last = np.ones(len(order), bool)
        last[:-1] = (at[1:] != at[:-1]) | (points[1:] != points[:-1])
        order = order[last]
        at, points = at[last], points[last]
        first_of = dict(zip(points[::-1].tolist(), at[::-1].tolist(), strict=True))
        processor = Processor(*self._task, self._documents)
        book = Book(*self._task)
        processor.outbox = book
        begin = int(at[0]) if len(at) else high
        for start, document in self._in_force(begin):
            if start > begin:
                stop = int(np.searchsorted(at, start))
                self._feed(processor, read, order[:stop])
                order, at = order[stop:], at[stop:]
                if start > high:
                    break
                processor.wait(start)
            processor.adopt({self._site: document}, max(start, begin))
            processor.expect(self._told)
        self._feed(processor, read, order)
        processor.wait(high)
        return _Ran(book, unfinished(processor, self._site)), first_of

    def _in_force(self, begin: int) -> list[tuple[int, Document]]:
        """Documents with the time from which on each computes; the first one computes whatever was before it."""
        since = [version.since_ms for version in self._versions]
        found: list[tuple[int, Document]] = []
        for start in sorted(set(since)):
            place = max(k for k, other in enumerate(since) if other <= start)
            found.append((start, self._on_trial(place)))
        if found[0][0] > begin:
            found.insert(0, (begin, self._on_trial(0)))
        earlier = [one for one in found if one[0] <= begin]
        return [(begin, earlier[-1][1]), *found[len(earlier) :]]

    def _on_trial(self, place: int) -> Document:
        """A document with a clock of its own, on which nothing is an outage."""
        document = self._versions[place].layout.documents[self._site]
        return dataclasses.replace(
            document, domain="live", limits={**document.limits, "outage_ms": _NO_OUTAGE_MS}
        )  # fmt: skip

    def _feed(self, processor: Processor, read: Readings, order: Longs) -> None:
        rows = processor.layout.arrays.number_row
        numbers = read.numbers[order]
        known_here = numbers < len(rows)
        row = np.where(known_here, rows[np.where(known_here, numbers, 0)], -1).astype(np.int32)
        kept, row = order[row >= 0], row[row >= 0]
        nothing = np.zeros(len(kept), np.int64)
        feed = Feed(row, read.numbers[kept], read.times[kept], read.values[kept], read.qualities[kept], nothing)
        first = 0
        while first < len(kept):
            stop = min(first + _FEED_AT_ONCE, len(kept))
            while stop < len(kept) and feed.times_ms[stop] == feed.times_ms[stop - 1]:
                stop += 1
            processor.feed(feed, first, stop)
            first = stop


@dataclasses.dataclass
class _Group:
    """Episodes of one rule and subject, known ones and computed ones, that overlap."""

    before: list[Episode]
    after: list[Episode]
    is_open: bool

    def all(self) -> list[Episode]:
        return [*self.before, *self.after]


def _end(one: Episode, going_on: set[tuple[Name, int]]) -> int:
    return FAR if one.is_open or (one.name, one.number) in going_on else one.ended_ms


def _touches(one: Episode, span: tuple[int, int], going_on: set[tuple[Name, int]]) -> bool:
    return one.started_ms <= span[1] and _end(one, going_on) >= span[0]


def _groups(
    before: list[Episode],
    after: list[Episode],
    spans: dict[Name, tuple[int, int]],
    open_before: set[tuple[Name, int]],
    open_after: set[tuple[Name, int]],
) -> list[_Group]:
    """Those that touch the span of their rule and subject, with all that they overlap."""
    sides = [(one, True, _end(one, open_before)) for one in before]
    sides += [(one, False, _end(one, open_after)) for one in after]
    sides.sort(key=lambda side: (side[0].name, side[0].started_ms, side[2], not side[1]))
    found: list[tuple[_Group, int, int]] = []
    for one, is_before, end in sides:
        if not found or found[-1][0].all()[0].name != one.name or found[-1][2] < one.started_ms:
            found.append((_Group([], [], False), one.started_ms, end))
        group, start, until = found[-1]
        (group.before if is_before else group.after).append(one)
        group.is_open |= end == FAR
        found[-1] = (group, start, max(until, end))
    return [
        group
        for group, start, until in found
        if start <= spans[group.all()[0].name][1] and until >= spans[group.all()[0].name][0]
    ]


def _changes(groups: list[_Group]) -> Changes:
    listed: list[Change] = []
    parts: list[tuple[Name, int, Part, int]] = []
    for group in groups:
        same = {one.said() for one in group.before} & {one.said() for one in group.after}
        gone = [one for one in group.before if one.said() not in same]
        free = list(gone)
        listed += [Change(RETRACTED, one) for one in gone]
        wasted: dict[tuple[Name, int], dict[Part, int]] = {}
        for one in gone:
            wasted[one.name, one.number] = {part: -quantity for part, quantity in one.parts}
        for new in group.after:
            if new.said() in same:
                continue
            old = next(
                (one for one in free if one.started_ms < new.ended_ms and new.started_ms < one.ended_ms), None
            )  # fmt: skip
            if old is not None:
                free.remove(old)
            numbered = dataclasses.replace(new, number=new.started_ms if old is None else old.number)
            listed.append(Change(ADDED, numbered))
            own = wasted.setdefault((numbered.name, numbered.number), {})
            for part, quantity in numbered.parts:
                own[part] = own.get(part, 0) + quantity
        parts += [(name, number, *one) for (name, number), own in wasted.items() for one in some(own)]
    return Changes(tuple(listed), tuple(parts))


def rows(changes: Changes, site: str, offset: int, known_at: int) -> list[Named]:
    """Changes as rows of the streams `alerts` and `episodes` of the task that settles."""
    head: dict[str, object] = {"site": site, "offset": offset, "known_at": known_at}
    place = [key(site), offset, known_at]
    episodes, said = [], []
    for change in changes.listed:
        one = change.episode
        times = {"started_at": one.started_ms, "fired_at": one.fired_ms, "valid_at": one.ended_ms}
        episodes.append(
            {
                **head, "rule": one.name[0], "subject": one.name[1], "episode": one.number,
                "change": KINDS[change.kind], "state": one.state, "severity": one.severity, **times,
            }
        )  # fmt: skip
        numbers = [one.number, change.kind, STATES.index(one.state), key(one.severity), *times.values()]
        said.append([*place, *map(key, one.name), *numbers])
    parts, wasted = [], []
    for name, number, (point, start, end), quantity in changes.parts:
        parts.append(
            {
                **head, "rule": name[0], "subject": name[1], "episode": number, "point": point, "from_ms": start,
                "to_ms": end, "quantity": quantity, "final": False,
            }
        )  # fmt: skip
        wasted.append([*place, *map(key, name), number, point, start, end, quantity, 0])
    made = [
        Named("alerts", "episode_changes", episodes, np.array(said, np.int64)),
        Named("episodes", "episode_rows", parts, np.array(wasted, np.int64)),
    ]
    return [one for one in made if one.rows]
