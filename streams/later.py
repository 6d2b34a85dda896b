"""Work that nobody waits for: caches are written once what they hold is in use."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

PAUSE_S: Final = 1.0
"""Python runs one thread at a time, so a cache that is written at once would keep back the very change it is of."""


class Later:
    """Does jobs one after another, each some time after it was given.

    Args:
        pause_s: how long after.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="caches")
        self._jobs: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._hurry = threading.Event()

    def do(self, name: str, job: Callable[[], None]) -> None:
        """Does a job later, instead of an older one of the same name that has not begun. It must not raise."""
        with self._lock:
            waits = name in self._jobs
            self._jobs[name] = job
        if not waits:
            self._thread.submit(self._next, name)

    def close(self) -> None:
        """Does what is left, without a pause, and what comes after as well."""
        self._hurry.set()
        self._thread.submit(lambda: None).result()

    def drop(self) -> None:
        """Forgets what has not begun."""
        with self._lock:
            self._jobs.clear()
        self._hurry.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self, name: str) -> None:
        self._hurry.wait(self._pause_s)
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is not None:
            job()
