"""Robots of WeCom, DingTalk and Feishu: their bodies, signatures, limits and answers.

HTTP 200 says nothing: `errcode` or `code` in the body does. Everything is sent as plain text, so that no room and no
person can have a name that is markup; who is named is named by ids of the settings.

Sources: developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/robots/custom-robot-access,
open.feishu.cn/document/client-docs/bot-v3/add-custom-bot.

Codes for "too many, later", and where each is known from (looked up 2026-11-26):

* WeCom 45009, `api freq out of limit`: answers that people quote (developers.weixin.qq.com/community).
* DingTalk 130101, `send too fast, exceed 20 times per minute`, then ten minutes of rest: quoted by people. The ten
  minutes are known from copies of the maker's page alone, which itself was not seen.
* Feishu 11232, above 100 a minute or 5 a second, and at full and half hours under the load of others; 99991400 with
  HTTP 429, or 400 on older addresses: open.feishu.cn/document/server-docs/api-call-guide/frequency-control.
* WeCom -1 and 45033, DingTalk -1, 302033 and 410100, Feishu 9499: nothing was found to hold them against. They cost at
  most a later attempt; the outbox gives up what stays so.
"""

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from schemas.codec import Json
from schemas.settings import ChannelSettings
from sinks.notify.channels.base import Answer, body_of, posted, reached, redacted
from sinks.notify.channels.http import Reply
from sinks.notify.records import Message

_ID: Final = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
_MOBILE: Final = re.compile(r"\+?[0-9-]{8,20}")
_TEXT_BYTES: Final = 6000
"""DingTalk and Feishu take 20 kB; nobody reads so much in a chat."""


class Robot:
    """What the three have in common.

    Args:
        settings: of the channel.
        timeout_s: for one message.
    """

    per_minute: ClassVar[int] = 20
    bytes_max: ClassVar[int] = _TEXT_BYTES
    gap_ms: ClassVar[int] = 0
    recognises: ClassVar[bool] = False
    code: ClassVar[str] = "errcode"
    busy: ClassVar[Mapping[int, int]] = {}
    """Codes that mean `later`, with how long that is in ms; every other one but 0 is a refusal."""

    def __init__(self, settings: ChannelSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s

    def send(self, message: Message, data: Mapping[str, Json], *, doubtful: bool) -> Answer:
        """Sends a message as text."""
        del data
        text = body_of(message, self._settings, self.bytes_max, doubtful=doubtful)
        people = [one for one in reached(self._settings, message) if _ID.fullmatch(one)]
        url, body = self.request(text, people, time.time_ns() // 1_000_000)
        raw = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        reply = posted(url, raw, headers, self._settings, self._timeout_s)
        return reply if isinstance(reply, Answer) else self.judge(reply)

    def judge(self, reply: Reply) -> Answer:
        """What the body of an answer says."""
        if reply.status == 429 or reply.status >= 500:
            return Answer("later", f"HTTP {reply.status}", 60_000 if reply.status == 429 else 0)
        try:
            said = json.loads(reply.body)
            code = int(said.get(self.code, said.get("StatusCode")))
        except (ValueError, TypeError, AttributeError):
            # Not the robot: a proxy, a sign-in page. It took the message or it did not.
            return Answer("refused", f"HTTP {reply.status} without {self.code}")
        detail = redacted(f"{self.code} {code}: {said.get('errmsg', said.get('msg', ''))}", self._settings)
        if code == 0 and reply.status == 200:
            return Answer("sent", detail)
        return Answer("later", detail, self.busy[code]) if code in self.busy else Answer("refused", detail)

    def request(self, text: str, people: list[str], now_ms: int) -> tuple[str, dict[str, Any]]:
        """(address, body) of a text."""
        raise NotImplementedError

    def _url(self) -> str:
        return self._settings.url.get_secret_value()

    def _secret(self) -> str:
        return self._settings.secret.get_secret_value()


class WeCom(Robot):
    """The key in the address is the secret; there is no signature."""

    bytes_max = 2048
    busy: ClassVar[Mapping[int, int]] = {-1: 1000, 45009: 60_000, 45033: 5000}

    def request(self, text: str, people: list[str], now_ms: int) -> tuple[str, dict[str, Any]]:
        """Mentions are lists beside the text."""
        del now_ms
        mobiles = [person for person in people if _MOBILE.fullmatch(person)]
        users = [person for person in people if person not in mobiles]
        content: dict[str, Any] = {"content": text}
        content |= {"mentioned_list": users} if users else {}
        content |= {"mentioned_mobile_list": mobiles} if mobiles else {}
        return self._url(), {"msgtype": "text", "text": content}


class DingTalk(Robot):
    """Beyond twenty a minute a robot is mute for ten minutes."""

    busy: ClassVar[Mapping[int, int]] = {-1: 1000, 130101: 600_000, 302033: 600_000, 410100: 600_000}

    def request(self, text: str, people: list[str], now_ms: int) -> tuple[str, dict[str, Any]]:
        """The signature goes into the address; who is named has to be in the text as well."""
        url = self._url()
        if self._secret():
            sign = urllib.parse.quote_plus(dingtalk_sign(self._secret(), now_ms))
            url += f"{'&' if '?' in url else '?'}timestamp={now_ms}&sign={sign}"
        mobiles = [person for person in people if _MOBILE.fullmatch(person)]
        at = {"atMobiles": mobiles, "atUserIds": [one for one in people if one not in mobiles], "isAtAll": False}
        said = text + "".join(f" @{person}" for person in people)
        return url, {"msgtype": "text", "text": {"content": said}, "at": at}


class Feishu(Robot):
    """A hundred a minute, five a second; the signature is in the body, with seconds."""

    per_minute = 60
    gap_ms = 250
    code = "code"
    busy: ClassVar[Mapping[int, int]] = {9499: 10_000, 11232: 60_000, 99991400: 60_000}

    def request(self, text: str, people: list[str], now_ms: int) -> tuple[str, dict[str, Any]]:
        """Mentions are tags in the text; ids are of the settings and have no quotes in them."""
        said = text + "".join(f'<at user_id="{person}"></at>' for person in people)
        body: dict[str, Any] = {"msg_type": "text", "content": {"text": said}}
        if self._secret():
            now_s = now_ms // 1000
            body |= {"timestamp": str(now_s), "sign": feishu_sign(self._secret(), now_s)}
        return self._url(), body


def dingtalk_sign(secret: str, now_ms: int) -> str:
    """DingTalk: base64 of HMAC-SHA256, keyed with the secret, over `milliseconds LF secret`."""
    return _base64(hmac.new(secret.encode(), f"{now_ms}\n{secret}".encode(), hashlib.sha256))


def feishu_sign(secret: str, now_s: int) -> str:
    """Feishu: base64 of HMAC-SHA256, keyed with `seconds LF secret`, over nothing."""
    return _base64(hmac.new(f"{now_s}\n{secret}".encode(), b"", hashlib.sha256))


def _base64(code: hmac.HMAC) -> str:
    return base64.b64encode(code.digest()).decode()
