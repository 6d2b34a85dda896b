"""A group robot on this machine that answers as those of WeCom, DingTalk and Feishu do.

The demo starts it as its local channel, and the notifier's tests hold the channels against it: keys, signatures,
sizes, limits, and faults where they are asked for. It answers HTTP 200 also when it refuses, as the real ones do.

Sources: developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/robots/custom-robot-access,
open.feishu.cn/document/client-docs/bot-v3/add-custom-bot.
"""

import base64
import collections
import dataclasses
import hashlib
import hmac
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

WECOM, DINGTALK, FEISHU = "/cgi-bin/webhook/send", "/robot/send", "/open-apis/bot/v2/hook/"
BODY_BYTES_MAX: Final = 20_000
_WECOM_TEXT_BYTES: Final = 2048
_WECOM_MARKDOWN_BYTES: Final = 4096
_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_MUTE_S: Final = 600.0

Fault = Callable[["_Handler"], bool]
"""Does something else than answering, before (True: and nothing more is done) the message is looked at."""


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """A message that the robot has shown.

    Attributes:
        maker: wecom, dingtalk, feishu.
        text: what people read.
        at_s: `time.time()` then.
    """

    maker: str
    text: str
    at_s: float


class RobotServer:
    """A robot that listens on loopback, inside a `with`.

    Args:
        key: what the address must have.
        secret: what signs for DingTalk and Feishu; empty: nothing has to be signed.
        port: where; 0: any that is free.
        told: called with each message that is shown.

    Attributes:
        said: what it has shown.
        refused: the codes that it has answered beside 0.
        faults: the next requests meet these, one each.
    """

    def __init__(self, key: str, secret: str = "", port: int = 0, told: Callable[[Said], None] | None = None) -> None:
        self.key = key
        self.secret = secret
        self.said: list[Said] = []
        self.refused: list[int] = []
        self.faults: collections.deque[Fault] = collections.deque()
        self._told = told
        self._lock = threading.Lock()
        self._seen: dict[str, collections.deque[float]] = collections.defaultdict(collections.deque)
        self._mute_until_s = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.robot = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def url(self, maker: str) -> str:
        """The address of the robot of a maker."""
        base = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {
            "wecom": f"{base}{WECOM}?key={self.key}",
            "dingtalk": f"{base}{DINGTALK}?access_token={self.key}",
            "feishu": f"{base}{FEISHU}{self.key}",
        }[maker]

    def take(self, path: str, raw: bytes, now_s: float) -> dict[str, Any]:
        """The answer to a request."""
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        try:
            body = json.loads(raw)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            body = {}
        with self._lock:
            if parts.path == WECOM:
                code, text = self._wecom(query, body, now_s)
                answer: dict[str, Any] = {"errcode": code, "errmsg": "ok" if code == 0 else f"refused, hint: [{code}]"}
                maker = "wecom"
            elif parts.path == DINGTALK:
                code, text = self._dingtalk(query, body, raw, now_s)
                answer = {"errcode": code, "errmsg": "ok" if code == 0 else "refused"}
                maker = "dingtalk"
            else:
                code, text = self._feishu(parts.path, body, raw, now_s)
                answer = {"code": code, "msg": "success" if code == 0 else "refused", "data": {}}
                maker = "feishu"
            if code == 0:
                said = Said(maker, text, now_s)
                self.said.append(said)
                if self._told is not None:
                    self._told(said)
            else:
                self.refused.append(code)
        return answer

    def _wecom(self, query: dict[str, str], body: dict[str, Any], now_s: float) -> tuple[int, str]:
        if query.get("key") != self.key:
            return 93000, ""
        kind = body.get("msgtype")
        text = str((body.get(str(kind)) or {}).get("content", ""))
        if kind not in ("text", "markdown"):
            return 40008, ""
        if not 0 < len(text.encode()) <= (_WECOM_TEXT_BYTES if kind == "text" else _WECOM_MARKDOWN_BYTES):
            return 40058, ""
        return (0, text) if self._within("wecom", now_s, _MINUTE_S, 20) else (45009, "")

    def _dingtalk(self, query: dict[str, str], body: dict[str, Any], raw: bytes, now_s: float) -> tuple[int, str]:
        if query.get("access_token") != self.key:
            return 300001, ""
        if self.secret:
            stamp = query.get("timestamp", "")
            right = _sign(self.secret.encode(), f"{stamp}\n{self.secret}".encode())
            in_time = stamp.isdecimal() and abs(int(stamp) / 1000 - now_s) < _HOUR_S
            if not in_time or not hmac.compare_digest(query.get("sign", ""), right):
                return 310000, ""
        text = str((body.get("text") or {}).get("content", ""))
        if body.get("msgtype") != "text" or not text or len(raw) > BODY_BYTES_MAX:
            return 400, ""
        if now_s < self._mute_until_s or not self._within("dingtalk", now_s, _MINUTE_S, 20):
            self._mute_until_s = max(self._mute_until_s, now_s + _MUTE_S)
            return 130101, ""
        return 0, text

    def _feishu(self, path: str, body: dict[str, Any], raw: bytes, now_s: float) -> tuple[int, str]:
        if path != FEISHU + self.key:
            return 19001, ""
        if self.secret:
            stamp = str(body.get("timestamp", ""))
            right = _sign(f"{stamp}\n{self.secret}".encode(), b"")
            in_time = stamp.isdecimal() and abs(int(stamp) - now_s) < _HOUR_S
            if not in_time or not hmac.compare_digest(str(body.get("sign", "")), right):
                return 19021, ""
        text = str((body.get("content") or {}).get("text", ""))
        if body.get("msg_type") != "text" or not text or len(raw) > BODY_BYTES_MAX:
            return 9499, ""
        slow = self._within("feishu second", now_s, 1.0, 5) and self._within("feishu", now_s, _MINUTE_S, 100)
        return (0, text) if slow else (11232, "")

    def _within(self, name: str, now_s: float, span_s: float, most: int) -> bool:
        """Whether one more is inside a limit; counts it."""
        seen = self._seen[name]
        while seen and seen[0] <= now_s - span_s:
            seen.popleft()
        if len(seen) >= most:
            return False
        seen.append(now_s)
        return True


def _sign(key: bytes, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "robot"
    timeout = 30

    def do_POST(self) -> None:
        """Answers 200 with what the robot says."""
        robot: RobotServer = self.server.robot  # type: ignore[attr-defined]
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        if robot.faults and robot.faults.popleft()(self):
            self.close_connection = True
            return
        self.answer(200, robot.take(self.path, raw, time.time()))

    def answer(self, status: int, body: object) -> None:
        """Writes an answer."""
        raw = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        """Says nothing: addresses hold keys."""
