"""What a person does about an alert, as an event: checked, written to `alert.actions`, and never changed.

| kind | of | needs |
|---|---|---|
| acknowledge, start, reopen, close | an alert | |
| assign | an alert | assignee |
| comment | an alert | comment or reason |
| snooze | an alert | until_ms: quiet until then |
| false_alarm, true_alarm | an alert | says that the rule was wrong here, or takes that back |
| work_order | an alert | assignee, until_ms (when it is due) |
| work_done | an alert | refers (the order), comment or photo |
| work_cancelled | an alert | refers (the order) |
| silence | matcher | until_ms, comment |
| mute | matcher | hours; until_ms may end it |
| unsilence | | refers (the silence or mute) |

The name of a silence, mute or work order is the `event_id` of the action that made it.
"""

import dataclasses
import functools
import hashlib
import time
import unicodedata
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas import codec
from schemas.errors import ActionError, KafkaUnavailable, LogError
from schemas.hours import Hours
from schemas.kafka import client_config
from schemas.matchers import Matcher
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS, ALERT_PHOTOS, topic_name
from sinks.desk import photos

Key: TypeAlias = tuple[str, str, str, int]
"""Site, rule, subject, episode."""

OF_ALERT: Final = frozenset({
    "acknowledge", "start", "assign", "comment", "snooze", "reopen", "close", "false_alarm", "true_alarm", "work_order",
    "work_done", "work_cancelled",
})  # fmt: skip
OF_MATCHER: Final = frozenset({"silence", "mute"})
KINDS: Final = (*sorted(OF_ALERT), *sorted(OF_MATCHER), "unsilence")
REASONS: Final = (
    "cleaning", "meeting", "overtime", "event", "maintenance", "sensor_fault", "wrong_threshold", "known", "other",
)  # fmt: skip
"""Why a comment, a silence or a false alarm; `other` is told in the comment."""

TEXT_CHARS_MAX: Final = 120
COMMENT_CHARS_MAX: Final = 4000
PHOTO_BYTES_MAX: Final = 700_000
"""Below the broker's limit of a megabyte for a message."""
_UNTIL_MAX_MS: Final = 366 * 86_400_000
_PHOTOS: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """One action; texts that a kind does not need are empty. See `schemas/avro/alert_action.avsc`."""

    kind: str
    actor: str
    site: str = ""
    rule: str = ""
    subject: str = ""
    episode: int = 0
    until_ms: int = 0
    assignee: str = ""
    comment: str = ""
    reason: str = ""
    matcher: str = ""
    hours: str = ""
    refers: str = ""
    photo: bytes = dataclasses.field(default=b"", repr=False)
    seen: int = -1
    event_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    time_ms: int = dataclasses.field(default_factory=lambda: time.time_ns() // 1_000_000)

    @classmethod
    def on(cls, key: Key, kind: str, actor: str, **more: Any) -> "Action":
        """An action of an alert: `Action.on(alert.key, "assign", "liu", assignee="wang", seen=alert.seen)`."""
        site, rule, subject, episode = key
        return cls(kind, actor, site, rule, subject, episode, **more)

    @property
    def key(self) -> Key:
        """Of the alert that it is about."""
        return self.site, self.rule, self.subject, self.episode

    @property
    def raw(self) -> bytes:
        """As a message.

        Raises:
            DecodeError: a number does not fit.
        """
        return codec.write("alert_action", dataclasses.asdict(self))

    @classmethod
    def parse(cls, raw: bytes) -> "Action":
        """Reads a message.

        Raises:
            DecodeError: it is none.
        """
        return cls(**cast("dict[str, Any]", codec.read("alert_action", raw)))


def short_id(key: Key) -> str:
    """Eight hex digits that name an alert where people have to type."""
    return hashlib.sha256("\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def photo_type(photo: bytes) -> str:
    """Media type of a photo by its first bytes; empty: none that is taken."""
    if photo[:4] == b"RIFF" and photo[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _PHOTOS.items() if photo.startswith(magic)), "")


def check(action: Action, now_ms: int | None = None) -> None:
    """Checks what can be told from an action alone.

    Args:
        action: what somebody wants to do.
        now_ms: the time; the clock's where it is None.

    Raises:
        ActionError: what is wrong with it.
    """
    if action.kind not in KINDS:
        raise ActionError(f"{action.kind!r} is no action; known are {', '.join(KINDS)}")
    if not action.actor:
        raise ActionError("an action needs an actor: who does it")
    if action.reason and action.reason not in REASONS:
        raise ActionError(f"{action.reason!r} is no reason; known are {', '.join(REASONS)}")
    _check_texts(action)
    _check_target(action)
    _check_needs(action, time.time_ns() // 1_000_000 if now_ms is None else now_ms)


def _check_texts(action: Action) -> None:
    for name in ("actor", "site", "rule", "subject", "assignee", "refers", "event_id"):
        text = getattr(action, name)
        if len(text) > TEXT_CHARS_MAX or any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
            raise ActionError(f"{name} is longer than {TEXT_CHARS_MAX} characters, or has control characters")
    if len(action.comment) > COMMENT_CHARS_MAX:
        raise ActionError(f"a comment has at most {COMMENT_CHARS_MAX} characters, this one {len(action.comment)}")
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" for char in action.comment):
        raise ActionError("a comment has no control characters")
    if action.photo and not photo_type(action.photo):
        raise ActionError("a photo is JPEG, PNG or WebP")
    if len(action.photo) > PHOTO_BYTES_MAX:
        raise ActionError(f"a photo has at most {PHOTO_BYTES_MAX} bytes, this one {len(action.photo)}; make it smaller")


def _check_target(action: Action) -> None:
    named = bool(action.site and action.rule and action.subject and action.episode > 0)
    if action.kind in OF_ALERT and not named:
        raise ActionError(f"{action.kind} needs an alert: site, rule, subject and episode")
    if action.kind not in OF_ALERT and (action.rule or action.subject or action.episode):
        raise ActionError(f"{action.kind} is not of one alert; say with a matcher which ones are meant")
    if action.kind not in OF_MATCHER and (action.matcher or action.hours):
        raise ActionError(f"{action.kind} has neither matcher nor hours")
    Matcher.parse(action.matcher)
    Hours.parse(action.hours)


def _check_needs(action: Action, now_ms: int) -> None:
    kind = action.kind
    if kind == "silence" and not action.matcher:
        raise ActionError("a silence needs a matcher; one for everything would hide a fire")
    if kind in ("silence", "snooze", "work_order") and not action.until_ms:
        raise ActionError(f"{kind} needs an end: until when")
    if kind not in (*OF_MATCHER, "snooze", "work_order") and action.until_ms:
        raise ActionError(f"{kind} has no end")
    if action.until_ms and not now_ms < action.until_ms <= now_ms + _UNTIL_MAX_MS:
        raise ActionError("the end must lie in the future, and within a year")
    if kind == "mute" and not (action.hours and action.matcher):
        raise ActionError("a mute needs hours and a matcher")
    if kind in ("assign", "work_order") and not action.assignee:
        raise ActionError(f"{kind} needs an assignee: to whom")
    if kind in ("work_done", "work_cancelled", "unsilence") and not action.refers:
        raise ActionError(f"{kind} needs the id of what it refers to")
    if kind in ("comment", "work_done", "silence") and not (action.comment or action.reason or action.photo):
        raise ActionError(f"{kind} needs a comment, a reason or a photo")


def _delivered(
    placed: dict[int, int], refused: list[KafkaError], number: int, error: KafkaError | None, message: Any
) -> None:
    if error is None:
        placed[number] = message.offset()
    else:
        refused.append(error)


class ActionWriter:
    """Writes actions; each call returns when every replica that must has them.

    Args:
        kafka: where.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topic = topic_name(kafka, ALERT_ACTIONS)
        self._producer = Producer(
            client_config(
                kafka,
                enable_idempotence=True,
                acks="all",
                compression_type="zstd",
                linger_ms=0,
                message_timeout_ms=15_000,
            )
        )

    def write(self, actions: Sequence[Action]) -> list[int]:
        """Checks and writes actions in their order; none is written when one of them is wrong.

        Returns:
            Their offsets in `alert.actions`.

        Raises:
            ActionError: one of them is wrong.
            KafkaUnavailable: no broker answers in time; whether they were written is not known, and the same actions
                (the same event ids) may be written again.
            LogError: the broker refuses them.
        """
        for action in actions:
            check(action)
        shown = [action for action in actions if action.photo]
        pictures = [(action.event_id.encode(), action.photo) for action in shown]
        places = self._put(topic_name(self._kafka, ALERT_PHOTOS), pictures) if shown else []
        named = {
            action.event_id: photos.name_of(action.photo, offset) for action, offset in zip(shown, places, strict=True)
        }
        messages = []
        for action in actions:
            key = "/".join(map(str, action.key)) if action.kind in OF_ALERT else action.refers or action.event_id
            messages.append((key.encode(), dataclasses.replace(action, photo=named.get(action.event_id, b"")).raw))
        return self._put(self._topic, messages)

    def _put(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Writes messages (key, value) in their order; their offsets, when all replicas that must have them."""
        placed: dict[int, int] = {}
        refused: list[KafkaError] = []
        try:
            for number, (key, value) in enumerate(messages):
                told = functools.partial(_delivered, placed, refused, number)
                self._producer.produce(topic, value, key, on_delivery=told)
                self._producer.poll(0)
        except (KafkaException, BufferError) as error:
            raise LogError(f"actions cannot be written: {error}") from error
        self._producer.flush(20)
        if refused and not any(error.code() == KafkaError._MSG_TIMED_OUT for error in refused):  # noqa: SLF001
            raise LogError(f"the broker refuses to write actions: {refused[0].str()}")
        if len(placed) < len(messages):
            raise KafkaUnavailable(self._kafka.bootstrap, "actions were not acknowledged")
        return [placed[number] for number in range(len(messages))]

    def close(self) -> None:
        """Waits for what is under way."""
        self._producer.flush(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
