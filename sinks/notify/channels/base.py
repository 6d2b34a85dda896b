"""What a channel is: one message in, one answer out."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, Protocol

from schemas.codec import Json
from schemas.errors import ChannelError
from schemas.settings import ChannelSettings
from sinks.notify.channels.http import NoAnswerError, NotSentError, Reply, post
from sinks.notify.clean import cut, plain, safe
from sinks.notify.records import Message, Outcome
from sinks.notify.wording import say

DETAIL_CHARS_MAX: Final = 300
_SECRET_CHARS_MIN: Final = 6
"""Shorter ones would black out ordinary words."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message.

    Attributes:
        outcome: sent, later (not now), unknown (it may have arrived), refused (never as it is).
        detail: what the other side said, without secrets.
        retry_after_ms: not before so long; 0: it did not say.
    """

    outcome: Outcome
    detail: str = ""
    retry_after_ms: int = 0


class Channel(Protocol):
    """One channel. `send` may take as long as its time-out, and raises nothing that a network can cause."""

    per_minute: ClassVar[int]
    bytes_max: ClassVar[int]
    gap_ms: ClassVar[int]
    """Least time between two messages."""
    recognises: ClassVar[bool]
    """Whether the other side can tell a repeat by the id that goes with a message."""

    def send(self, message: Message, data: Mapping[str, Json], *, doubtful: bool) -> Answer:
        """Sends a message.

        Args:
            message: what people read, and who is named.
            data: the same for programs.
            doubtful: it may have arrived before.
        """


def posted(
    url: str, body: bytes, headers: Mapping[str, str], settings: ChannelSettings, timeout_s: float
) -> Reply | Answer:
    """POSTs for a channel: the reply, or what it means that there is none."""
    try:
        return post(url, body, headers, timeout_s=timeout_s, allow_private=settings.allow_private)
    except NotSentError as error:
        return Answer("later", redacted(str(error), settings))
    except NoAnswerError as error:
        return Answer("unknown", redacted(str(error), settings))
    except ChannelError as error:
        return Answer("refused", redacted(str(error), settings))


def reached(settings: ChannelSettings, message: Message) -> list[str]:
    """Addresses in a channel of the people that a message names; those that it does not know are left out."""
    return [settings.people[person] for person in message.named if person in settings.people]


def body_of(message: Message, settings: ChannelSettings, bytes_max: int, *, doubtful: bool) -> str:
    """The text with its id, the people whom the channel cannot address, and a word where it may be a repeat."""
    unknown = [safe(person, 40) for person in message.named if person not in settings.people]
    marks = [f"({', '.join(unknown)})"] if unknown else []
    marks.append(f"#{message.id[:8]}")
    if doubtful:
        marks.append(f"({say('repeat', message.language)})")
    tail = "\n" + " ".join(marks)
    return cut(message.text, bytes_max - len(tail.encode())) + tail


def redacted(text: str, settings: ChannelSettings, more: Iterable[str] = ()) -> str:
    """A foreign text without this channel's secrets, and without anything else that a log should not have."""
    url = settings.url.get_secret_value()
    secrets = {url, *re.split(r"[/?&=@:]", url)}
    secrets.update(settings.secret.get_secret_value().split())
    secrets.update(more)
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
    for secret in sorted(secrets - {host}, key=len, reverse=True):
        if len(secret) >= _SECRET_CHARS_MIN and secret not in ("access_token", "webhook"):
            text = text.replace(secret, "***")
    return plain(text, DETAIL_CHARS_MAX)
