"""A hundred further services through Apprise: the URL says which (github.com/caronc/apprise/wiki)."""

import logging
from collections.abc import Mapping
from typing import ClassVar

from schemas.codec import Json
from schemas.errors import ChannelError
from schemas.settings import ChannelSettings
from sinks.notify.channels.base import Answer, body_of, redacted
from sinks.notify.records import Message


class Others:
    """One service of Apprise.

    Args:
        settings: of the channel; `url` is Apprise's.
        timeout_s: not used: Apprise has its own, in the URL (`?cto=4&rto=4`).

    Raises:
        ChannelError: Apprise does not know such a URL.
    """

    per_minute: ClassVar[int] = 20
    bytes_max: ClassVar[int] = 1500
    gap_ms: ClassVar[int] = 0
    recognises: ClassVar[bool] = False

    def __init__(self, settings: ChannelSettings, timeout_s: float) -> None:
        import apprise  # half a second, which only its users pay

        del timeout_s
        self._settings = settings
        # It logs addresses, and so secrets, of what it cannot reach.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        self._text = apprise.NotifyFormat.TEXT
        self._service = apprise.Apprise()
        if not self._service.add(settings.url.get_secret_value()):
            raise ChannelError(
                "Apprise knows no service of this url; its scheme says which, such as ntfys:// or slack://"
            )

    def send(self, message: Message, data: Mapping[str, Json], *, doubtful: bool) -> Answer:
        """Sends a message; Apprise says whether it was taken, and nothing else."""
        del data
        body = body_of(message, self._settings, self.bytes_max, doubtful=doubtful)
        try:
            taken = self._service.notify(body=body, title=message.title, body_format=self._text)
        except Exception as error:  # noqa: BLE001  a hundred plug-ins, each with its own errors
            return Answer("unknown", redacted(f"{type(error).__name__}: {error}", self._settings))
        return Answer("sent" if taken else "later", "" if taken else "the service did not take it")
