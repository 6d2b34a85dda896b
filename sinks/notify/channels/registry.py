"""From settings to channels."""

from collections.abc import Callable, Mapping
from typing import Final

from schemas.errors import ChannelError
from schemas.settings import ChannelSettings, NotifySettings
from sinks.notify.channels.base import Channel
from sinks.notify.channels.mail import Mail
from sinks.notify.channels.others import Others
from sinks.notify.channels.robots import DingTalk, Feishu, WeCom
from sinks.notify.channels.webhook import Webhook

_KINDS: Final[Mapping[str, Callable[[ChannelSettings, float], Channel]]] = {
    "wecom": WeCom,
    "dingtalk": DingTalk,
    "feishu": Feishu,
    "email": Mail,
    "webhook": Webhook,
    "apprise": Others,
}


def open_channels(settings: NotifySettings) -> dict[str, Channel]:
    """The channels of the settings.

    Raises:
        ChannelError: one of them is not set up as its kind needs; the message names it, and no secret.
    """
    found = {}
    for name, one in settings.channels.items():
        if one.fallback and one.fallback not in settings.channels:
            raise ChannelError(f"channel {name}: its fallback {one.fallback!r} is no channel")
        if not one.url.get_secret_value():
            raise ChannelError(f"channel {name} has no url")
        try:
            found[name] = _KINDS[one.kind](one, settings.timeout_s)
        except ChannelError as error:
            raise ChannelError(f"channel {name}: {error}") from None
    return found
