"""The process `ganzhi notify`: tells people until it is told to stop. Creates nothing in Kafka."""

import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.errors import ChannelError, KafkaUnavailable
from schemas.settings import Settings
from schemas.vitals import Pulse
from sinks.notify.channels.base import Answer
from sinks.notify.channels.registry import open_channels
from sinks.notify.notifier import Notifier
from sinks.notify.records import Message, name_of

WAIT_S: Final = 2.0

_log = logging.getLogger("ganzhi.notify")


def run(settings: Settings, stop: Callable[[], bool], pulse: Pulse | None = None) -> None:
    """Runs the notifier; Kafka being away is waited for, with a line in the log.

    Args:
        settings: of Kafka and the channels.
        stop: asked several times a second; True ends it.
        pulse: told how to ask how the notifier is.

    Raises:
        ChannelError: a channel is not set up as it must be.
        Fenced: another notifier runs.
        LogError: a topic is missing, or the broker denies it.
    """
    while not stop():
        try:
            notifier = Notifier(settings, stop)
            if pulse is not None:
                pulse.read = notifier.vitals
            _log.info("tells people through %s", ", ".join(sorted(settings.notify.channels)) or "no channel")
            notifier.run()
        except KafkaUnavailable as error:
            _log.warning("waiting for Kafka: %s", error)
            until_s = time.monotonic() + WAIT_S
            while time.monotonic() < until_s and not stop():
                time.sleep(0.1)


def try_channel(settings: Settings, name: str) -> Answer:
    """Sends one message through a channel and says what became of it; needs no Kafka.

    Raises:
        ChannelError: there is no such channel, or it is not set up as it must be.
    """
    channels = open_channels(settings.notify)
    if name not in channels:
        raise ChannelError(f"there is no channel {name!r}; the settings have {', '.join(sorted(channels)) or 'none'}")
    now_ms = time.time_ns() // 1_000_000
    title = "ganzhi：测试消息 / a test message"
    message = Message(name_of("test", name, now_ms), now_ms, name, (), "", title, title, (), "zh")
    return channels[name].send(message, {"id": message.id, "title": title, "text": title}, doubtful=False)
