"""Signed webhooks: Standard Webhooks (standardwebhooks.com), so that any receiver can check who sent what, and once.

`webhook-id` is the id of the message: a receiver that has it already answers 2xx and does nothing.
"""

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import ClassVar

from standardwebhooks import Webhook as Signer

from schemas.codec import Json
from schemas.errors import ChannelError
from schemas.settings import ChannelSettings
from sinks.notify.channels.base import Answer, posted
from sinks.notify.records import Message

_GONE = 410


class Webhook:
    """One receiver.

    Args:
        settings: of the channel; `secret` is `whsec_…`, or two of them while it changes.
        timeout_s: for one message.

    Raises:
        ChannelError: there is no secret, or it is none.
    """

    per_minute: ClassVar[int] = 120
    bytes_max: ClassVar[int] = 60_000
    gap_ms: ClassVar[int] = 0
    recognises: ClassVar[bool] = True

    def __init__(self, settings: ChannelSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        secrets = settings.secret.get_secret_value().split()
        if not secrets or not all(map(_is_secret, secrets)):
            raise ChannelError("a webhook needs a secret: whsec_ and 24 to 64 bytes in base64")
        self._signers = [Signer(secret) for secret in secrets]

    def send(self, message: Message, data: Mapping[str, Json], *, doubtful: bool) -> Answer:
        """Sends what programs read; the id tells a repeat."""
        del doubtful
        now = dt.datetime.now(dt.UTC)
        payload = {"type": "ganzhi.alerts", "timestamp": now.isoformat(timespec="milliseconds"), "data": data}
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(message.id, now, text) for signer in self._signers),
        }
        url = self._settings.url.get_secret_value()
        reply = posted(url, text.encode(), headers, self._settings, self._timeout_s)
        if isinstance(reply, Answer):
            return reply
        said = f"HTTP {reply.status}"
        if 200 <= reply.status < 300:
            return Answer("sent", said)
        if reply.status in (408, 425, 429) or reply.status >= 500:
            return Answer("later", said, _retry_after_ms(reply.headers))
        return Answer("refused", said + (": the receiver is gone" if reply.status == _GONE else ""))


def _is_secret(secret: str) -> bool:
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return secret.startswith("whsec_") and 24 <= len(raw) <= 64


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(int(text), 3600) * 1000 if text.isdecimal() and len(text) < 10 else 0
