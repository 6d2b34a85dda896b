"""What the notifier writes to the topic `notifications`: contracts `notice`, `notice_message`, `notice_delivery`."""

import dataclasses
import hashlib
from typing import Any, Final, Literal, TypeAlias, cast

from schemas import codec
from sinks.desk.actions import Key
from sinks.desk.sites import Language

Outcome: TypeAlias = Literal["sent", "later", "unknown", "refused", "moved"]

NOBODY: Final[Key] = ("", "", "", 0)
"""The key of a notice that is about no alert."""
ID_CHARS: Final = 16


def name_of(*parts: object) -> str:
    """An id that follows from what it is of, so that deciding the same twice is seen."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:ID_CHARS]


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """That somebody is to be told one step of an alert; see `schemas/avro/notice.avsc`."""

    id: str
    time_ms: int
    site: str
    rule: str
    subject: str
    episode: int
    step: str
    severity: str
    route: str
    target: str
    channel: str
    named: tuple[str, ...]
    language: Language
    group: str
    due_ms: int
    every_ms: int

    @property
    def key(self) -> Key:
        """Of its alert."""
        return self.site, self.rule, self.subject, self.episode

    @property
    def kind(self) -> str:
        """The step without what comes after its colon: firing, escalate, remind, resolved, list and so on."""
        return self.step.partition(":")[0]

    @property
    def raw(self) -> bytes:
        """As a message."""
        return codec.write("notice", dataclasses.asdict(self) | {"named": list(self.named)})

    @classmethod
    def parse(cls, raw: bytes) -> "Notice":
        """Reads one."""
        fields = cast("dict[str, Any]", codec.read("notice", raw))
        return cls(**fields | {"named": tuple(fields["named"])})


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message as it is sent; see `schemas/avro/notice_message.avsc`."""

    id: str
    time_ms: int
    channel: str
    notices: tuple[str, ...]
    group: str
    title: str
    text: str
    named: tuple[str, ...]
    language: Language
    moved_from: str = ""

    @property
    def raw(self) -> bytes:
        """As a message."""
        lists = {"notices": list(self.notices), "named": list(self.named)}
        return codec.write("notice_message", dataclasses.asdict(self) | lists)

    @classmethod
    def parse(cls, raw: bytes) -> "Message":
        """Reads one."""
        fields = cast("dict[str, Any]", codec.read("notice_message", raw))
        return cls(**fields | {"notices": tuple(fields["notices"]), "named": tuple(fields["named"])})


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message; see `schemas/avro/notice_delivery.avsc`."""

    message: str
    time_ms: int
    channel: str
    outcome: Outcome
    attempt: int
    detail: str

    @property
    def raw(self) -> bytes:
        """As a message."""
        return codec.write("notice_delivery", dataclasses.asdict(self))

    @classmethod
    def parse(cls, raw: bytes) -> "Delivery":
        """Reads one."""
        return cls(**cast("dict[str, Any]", codec.read("notice_delivery", raw)))
