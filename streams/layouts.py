"""Layouts of large sites from this machine's cache: a worker with a million points is back in seconds after a kill.

A layout is a function of documents and code alone, so its name is a hash of both, and what is in the file is checked
against a hash of its own before it is believed. Losing the cache costs time.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from processors.layout import Layout
from processors.layout_build import build
from processors.layout_bytes import pack, unpack
from schemas.errors import ContractError, GanzhiError
from schemas.model.document import Document
from schemas.rules.memory import Memory
from schemas.settings import cache_home
from schemas.whole_files import write_whole
from streams.later import Later

POINTS_MIN: Final = 20_000
"""Smaller layouts are built in less than half a second."""

FILES_MAX: Final = 64
"""Files kept; of a machine with more partitions than that the oldest are built again."""

SPARE_S: Final = 10.0
"""After a layout has come from disk its rules are bound, for the next one: 2.5 CPU-seconds for fifty thousand points,
in a thread that takes turns with the tasks, which have caught up by then."""

_DIGEST_BYTES: Final = 32
_log = logging.getLogger("ganzhi.worker")


def code_state() -> bytes:
    """A hash of the code that layouts depend on: sizes and times of its files."""
    root = Path(__file__).parent.parent
    stamp = hashlib.sha256()
    for folder in ("processors", "schemas"):
        for file in sorted((root / folder).rglob("*.py")):
            facts = file.stat()
            stamp.update(f"{file.relative_to(root)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return stamp.digest()


class Layouts:
    """Builds layouts, or has them from disk; several threads may ask at once.

    Args:
        folder: of the cache; None: `layouts` under the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_home() / "layouts"
        self._memory = Memory()
        self._later = Later()
        self._spare = Later(SPARE_S)
        self._code = code_state()

    def build(self, topic: str, documents: dict[str, Document], versions: dict[str, int]) -> Layout:
        """As `processors.layout_build.build`."""
        # Numbers are given once, so there are no more points than numbers; their table may not be read yet.
        if sum(document.next_number for document in documents.values()) < POINTS_MIN:
            return build(topic, documents, versions, self._memory)
        file = self._folder / f"{self._name(topic, documents, versions)}.layout"
        found = self._read(file, documents)
        if found is None:
            found = build(topic, documents, versions, self._memory)
            self._later.do(" ".join((topic, *found.sites)), functools.partial(self._write, file, found))
        else:
            self._spare.do(" ".join((topic, *found.sites)), functools.partial(self.prepare, topic, documents))
        return found

    def prepare(self, topic: str, documents: dict[str, Document]) -> None:
        """Binds the rules of documents whose layout came from disk, so that the first change need bind but one."""
        for document in documents.values():
            if document.next_number <= self._memory.points_max:
                with contextlib.suppress(GanzhiError):  # whoever builds the next layout says what is wrong
                    self._memory.site(document).prepare(document, topic)

    def close(self) -> None:
        """Returns when what was built is on disk."""
        self._spare.drop()
        self._later.close()

    def _name(self, topic: str, documents: Mapping[str, Document], versions: Mapping[str, int]) -> str:
        name = hashlib.sha256(self._code + topic.encode())
        for site in sorted(documents):
            name.update(f"\n{site} {versions.get(site)} ".encode() + documents[site].sha256)
        return name.hexdigest()[:32]

    def _read(self, file: Path, documents: Mapping[str, Document]) -> Layout | None:
        try:
            raw = file.read_bytes()
        except OSError:
            return None
        try:
            if hashlib.sha256(raw[_DIGEST_BYTES:]).digest() != raw[:_DIGEST_BYTES]:
                raise ContractError("a cached layout is not what was written")
            return unpack(raw[_DIGEST_BYTES:], documents)
        except ContractError as error:
            _log.warning("%s is removed and built again: %s", file, error)
            with contextlib.suppress(OSError):
                file.unlink()
            return None

    def _write(self, file: Path, layout: Layout) -> None:
        raw = pack(layout)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(file, hashlib.sha256(raw).digest(), raw)
            old = sorted(self._folder.glob("*.layout"), key=lambda one: one.stat().st_mtime)
            for one in old[:-FILES_MAX]:
                one.unlink(missing_ok=True)
        except OSError as error:
            _log.info("layout not cached: %s", error)
