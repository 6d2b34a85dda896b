"""Documents by their sha256 for the tasks of a worker: from memory, from this machine's cache, or from `config`."""

import contextlib
import functools
import logging
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from schemas.errors import ContractError, HistoryIncomplete, LogError
from schemas.model.document import Document
from schemas.settings import KafkaSettings, cache_home
from schemas.whole_files import write_whole
from streams.follower import Follower
from streams.later import Later
from streams.published import fetch_bytes

IN_MEMORY_MAX: Final = 256
"""Documents kept in memory; a site changes its document a few times a year."""

_ASK_S: Final = 5.0

_log = logging.getLogger("ganzhi.worker")


class Documents:
    """Finds documents; several threads may ask at once.

    A document never changes, so whatever has the right bytes is right: a file of the cache that has others is removed.

    Args:
        kafka: where the topic `config` is.
        folder: the cache on disk; None: `documents` under the user's cache.
    """

    def __init__(self, kafka: KafkaSettings, folder: Path | None = None) -> None:
        self._kafka = kafka
        self._folder = folder or cache_home() / "documents"
        self._memory: OrderedDict[bytes, Document] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._later = Later()
        self._follower = Follower(kafka)
        self._following = False

    def get(self, sha256: bytes, give_up: threading.Event) -> Document:
        """The document of a name. Waits until somebody publishes it, with a line in the log every few seconds.

        Args:
            sha256: its name.
            give_up: set by another thread when nobody wants it any more.

        Raises:
            HistoryIncomplete: given up, or the topic has other bytes under this name.
        """
        self._follow()
        found = self._remembered(sha256)
        while found is None:
            if give_up.is_set():
                raise HistoryIncomplete(f"gave up waiting for document {sha256.hex()}")
            # One at a time: tasks of one site ask for the same document at the same moment.
            if self._fetching.acquire(timeout=0.1):
                try:
                    found = self._remembered(sha256) or self._fetch(sha256, give_up)
                finally:
                    self._fetching.release()
        return found

    def close(self) -> None:
        """Lets the broker go, once what was fetched is on disk."""
        self._follower.close()
        self._later.close()

    def _follow(self) -> None:
        """Looks for new documents from now on; by a thread of its own, as a broker may be away."""
        with self._lock:
            following, self._following = self._following, True
        if not following:
            threading.Thread(target=self._follower.start, name="documents", daemon=True).start()

    def _remembered(self, sha256: bytes) -> Document | None:
        with self._lock:
            found = self._memory.get(sha256)
            if found is not None:
                self._memory.move_to_end(sha256)
                return found
        found = self._from_disk(sha256)
        if found is not None:
            self._remember(found)
        return found

    def _others(self) -> list[Document]:
        """Those in memory, the last one first: a new document mostly has the tables of the one before."""
        with self._lock:
            return list(reversed(self._memory.values()))

    def _remember(self, document: Document) -> None:
        with self._lock:
            self._memory[document.sha256] = document
            while len(self._memory) > IN_MEMORY_MAX:
                self._memory.popitem(last=False)

    def _fetch(self, sha256: bytes, give_up: threading.Event) -> Document | None:
        """Asks the topic once, for a few seconds; None: not there (yet), or no broker answers."""
        try:
            raw = self._follower.take(sha256, give_up) or fetch_bytes(self._kafka, sha256, _ASK_S)
            found = Document.parse(raw, sha256, beside=self._others())
        except ContractError as error:
            # Not for the processor, which would reject the control record: another worker may have the right bytes.
            raise HistoryIncomplete(str(error)) from error
        except LogError as error:
            _log.warning("waiting for document %s: %s", sha256.hex()[:12], error)
            give_up.wait(0.5)
            return None
        self._remember(found)
        self._later.do(sha256.hex(), functools.partial(self._to_disk, sha256, raw))
        return found

    def _file(self, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}.json"

    def _from_disk(self, sha256: bytes) -> Document | None:
        file = self._file(sha256)
        try:
            return Document.parse(file.read_bytes(), sha256, known=True, beside=self._others())
        except OSError:
            return None
        except ContractError:
            _log.warning("%s is spoilt; it is removed and fetched again", file)
            with contextlib.suppress(OSError):
                file.unlink()
            return None

    def _to_disk(self, sha256: bytes, raw: bytes) -> None:
        """A cache: a full or read-only disk costs time at the next start and nothing else."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._file(sha256), raw)
        except OSError as error:
            _log.info("document not cached: %s", error)
