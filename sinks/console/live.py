"""The desk, kept current in a thread of its own, and told to whoever waits for a change.

Pages read `alerts` of the desk as they are; only this thread changes them. While Kafka is away the last state stays,
`fault` says so, and the thread begins again when it answers.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from schemas.errors import GanzhiError, KafkaUnavailable, ModelError
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS
from sinks.clickhouse.faults import point
from sinks.console.access import User
from sinks.console.places import Places
from sinks.desk.actions import Action, ActionWriter, Key
from sinks.desk.desk import SAVED_FROM, Desk
from sinks.desk.projection import Alert, Silence

POLL_S: Final = 0.1
AGAIN_S: Final = 2.0
QUIET_S: Final = 15.0
"""A stream says something at least so often, so that proxies keep it and a browser notices that it broke."""
TOGETHER_S: Final = 0.25
"""Changes that come closer together are told as one."""
READ_BACK_S: Final = 2.0
NOT_READ: Final = "not read yet"

log = logging.getLogger(__name__)


class Live:
    """Alerts, silences and places, as they are now.

    Args:
        kafka: where the log is.
        file: of the desk's checkpoint; None: none is kept.

    Attributes:
        places: the site models in force.
        fault: why what is shown may be old; empty: it is current.
        version: counts changes.
    """

    def __init__(self, kafka: KafkaSettings, file: Path | None = None) -> None:
        self.places = Places({})
        self.fault = NOT_READ
        self.version = 0
        self._kafka = kafka
        self._file = file
        self._desk: Desk | None = None
        self._writer: ActionWriter | None = None
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._silences = 0
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; streams that wait end too."""
        self._stop.set()
        self._tell()
        if self._thread.is_alive():
            self._thread.join(10)
        if self._writer is not None:
            self._writer.close()

    def wait_current(self, timeout_s: float) -> bool:
        """Whether everything that was there is read, within a time."""
        return self._caught_up.wait(timeout_s)

    @property
    def desk(self) -> Desk:
        """The desk.

        Raises:
            KafkaUnavailable: it was never read.
        """
        if self._desk is None:
            raise KafkaUnavailable(self._kafka.bootstrap, self.fault)
        return self._desk

    def alerts(self, user: User) -> list[Alert]:
        """Every alert that a user may see; none while the log was never read."""
        if self._desk is None:
            return []
        # A copy made in one go: the thread may add alerts meanwhile.
        return [one for one in list(self._desk.alerts.values()) if self.sees(user, one)]

    def open_alerts(self, user: User) -> list[Alert]:
        """Those that somebody has to look after."""
        return [one for one in self.alerts(user) if one.open]

    def alert(self, user: User, key: Key) -> Alert | None:
        """One alert, if it is there and the user may see it."""
        found = self._desk.alerts.get(key) if self._desk is not None else None
        return found if found is not None and self.sees(user, found) else None

    def silences(self, user: User) -> list[Silence]:
        """Silences and mutes that hold, of the sites that a user sees."""
        if self._desk is None:
            return []
        now = time.time_ns() // 1_000_000
        sites = {one.id for one in self.places.sites.values() if self.places.sees_site(user, one)}
        return [
            one
            for one in list(self._desk.silences.values())
            if one.active(now) and (one.site in sites or (not one.site and len(sites) == len(self.places.sites)))
        ]

    def silence_of(self, alert: Alert) -> Silence | None:
        """What keeps an alert quiet now."""
        return self._desk.projection.silenced_by(alert, time.time_ns() // 1_000_000) if self._desk else None

    def sees(self, user: User, alert: Alert) -> bool:
        """Whether a user may see an alert."""
        return self.places.sees(user, alert.key[0], alert.key[2])

    def act(self, actions: Iterable[Action]) -> None:
        """Checks and writes actions, all or none; returns when the log has them.

        What the log has already, by its event id, is not written again.

        Raises:
            ActionError: one of them is wrong.
            KafkaUnavailable: no broker answers.
        """
        known = self.desk.projection.events
        listed = [action for action in actions if action.event_id not in known]
        now = time.time_ns() // 1_000_000
        with self._writing:
            for action in listed:
                self.desk.projection.check(action, now)
            if self._writer is None:
                self._writer = ActionWriter(self._kafka)
            point("act-before-write")
            offsets = self._writer.write(listed)
        point("act-after-write")
        # Whoever did it shall see it: the page that comes next is made from what this thread has read back.
        deadline_s = time.monotonic() + READ_BACK_S
        while offsets and time.monotonic() < deadline_s:
            if self.desk.positions.get((ALERT_ACTIONS, 0), 0) > offsets[-1]:
                return
            time.sleep(0.02)

    async def changes(self) -> AsyncIterator[int]:
        """The version, at once, after every change, and at least every `QUIET_S`."""
        event = asyncio.Event()
        self._waiting[event] = asyncio.get_running_loop()
        try:
            while not self._stop.is_set():
                event.clear()
                yield self.version
                try:
                    await asyncio.wait_for(event.wait(), QUIET_S)
                    await asyncio.sleep(TOGETHER_S)
                except TimeoutError:
                    pass
        finally:
            self._waiting.pop(event, None)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except GanzhiError as error:
                self.fault = str(error)
                log.warning("alerts are not current: %s", error)
                self._tell()
            self._stop.wait(AGAIN_S)

    def _follow(self) -> None:
        with Desk(self._kafka, file=self._file) as desk:
            desk.catch_up()
            desk.save()
            documents = self._renew(desk)
            self._desk, self.fault = desk, ""
            self._caught_up.set()
            self._tell()
            self._warm()
            while not self._stop.is_set():
                changed = desk.poll(POLL_S)
                if documents != (documents := {site: one.document.sha256 for site, one in desk.sites.items()}):
                    self._renew(desk)
                    self._warm()
                    changed = changed or list(desk.alerts.values())[:1]
                silences = sum(1 if one.ended_at else 2 for one in desk.silences.values())
                if changed or silences != self._silences:
                    self._silences = silences
                    self._tell()
                desk.save()
            desk.save(SAVED_FROM)

    def _renew(self, desk: Desk) -> dict[str, bytes]:
        self.places = Places({site: one.document for site, one in desk.sites.items()})
        return {site: one.document.sha256 for site, one in desk.sites.items()}

    def _warm(self) -> None:
        """Makes what the first page of an alert and of usage would wait for."""
        for site in self.places.sites.values():
            with contextlib.suppress(ModelError):
                site.rules  # noqa: B018  kept by the site
            site.counted, site.shares  # noqa: B018

    def _tell(self) -> None:
        self.version += 1
        for event, loop in list(self._waiting.items()):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop has ended
                self._waiting.pop(event, None)
