"""Each channel against a server that behaves like the real one: signatures, sizes, limits, faults, and no secret anywhere."""

import base64
import dataclasses
import datetime as dt
import email
import email.policy
import hashlib
import hmac
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from ganzhi.demo.robot import RobotServer
from schemas.codec import Json
from schemas.errors import ChannelError
from schemas.settings import ChannelSettings, NotifySettings
from sinks.notify.channels.base import Answer
from sinks.notify.channels.http import NoAnswerError, NotSentError, Reply, forbidden, post
from sinks.notify.channels.registry import open_channels
from sinks.notify.channels.robots import DingTalk, Feishu, Robot, WeCom, dingtalk_sign, feishu_sign
from sinks.notify.clean import plain
from sinks.notify.records import Message, name_of
from tests.sinks.desk.world import NOON_MS, ROOM
from tests.sinks.notify.test_plan import HOSTILE, Office
from tests.sinks.notify.world import ALL, KEY, SECRET, WEBHOOK_SECRET, Receiver, robot_channel

MAKERS = ("wecom", "dingtalk", "feishu")
NEVER = set("<>@[]`*\\|#\r\x00\x1b\u202e\u2066\u200b")
TEXT = "警告 · 办公室101：空房间灯亮"


def message(text: str = TEXT, named: tuple[str, ...] = (), id_: str = "ab12cd34ef567890") -> Message:
    """A message."""
    return Message(id_, 0, "x", ("n",), "", "警告", text, named, "zh")


def hostile(folder: Path, wrong: str) -> tuple[str, str]:
    """Title and text of a message about a room, a rule and a comment that somebody has called so."""
    office = Office(folder, ALL)
    office.site.row("space", ROOM[2])["name_en"] = wrong  # type: ignore[index]
    office.site.rules[ROOM[1]]["annotations"] = {one: {"summary": wrong, "action": wrong} for one in ("zh", "en")}
    office.row("firing")
    office.act("assign", NOON_MS, assignee=wrong, comment=wrong)
    assigned = [notice for notice in office.look(NOON_MS) if notice.kind == "assign"]
    return office.wording.write(assigned, 2048)


def send(
    settings: ChannelSettings, what: Message | None = None, *, doubtful: bool = False, timeout_s: float = 2.0
) -> Answer:
    """Sends through a channel as the registry makes it."""
    channel = open_channels(NotifySettings(channels={"x": settings}, timeout_s=timeout_s))["x"]
    return channel.send(what or message(), {"id": "x"}, doubtful=doubtful)


def test_signatures_are_those_of_hand_made_vectors() -> None:
    """Made with openssl: DingTalk signs with the secret, Feishu with seconds and secret as the key, over nothing."""
    assert dingtalk_sign("SEC000this-is-secret", 1_577_262_236_757) == "vUDZXrCiBVpMbUJ9XFmDaU4FO43069TXJquPxl8nQZI="
    assert feishu_sign("this is a secret", 1_599_360_473) == "1MOZEWNVTqWg9yZemgxUa9z7jxJJ1h8E3/cwLrbxW+8="
    assert base64.b64encode(hmac.digest(b"a", b"1\na", hashlib.sha256)).decode() == dingtalk_sign("a", 1)
    assert base64.b64encode(hmac.digest(b"1\na", b"", hashlib.sha256)).decode() == feishu_sign("a", 1)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_robot_shows_the_text(maker: str) -> None:
    """With the id, the people whom it cannot name, and a word where it may be a repeat."""
    with RobotServer(KEY, SECRET) as robot:
        settings = robot_channel(robot, maker, people={"liu": "LiuYang", "wang": "13800000000"})
        answers = [send(settings), send(settings, message(named=("liu", "wang", "zhao")), doubtful=True)]

        assert [answer.outcome for answer in answers] == ["sent", "sent"]
        assert [said.maker for said in robot.said] == [maker, maker]
        assert robot.said[0].text == f"{TEXT}\n#ab12cd34"
        assert robot.said[1].text.startswith(f"{TEXT}\n(zhao) #ab12cd34 (可能重复)")


@pytest.mark.parametrize("maker", MAKERS)
def test_an_assignee_is_no_markup(maker: str) -> None:
    """Whom a message names may be a name that somebody made up."""
    with RobotServer(KEY, SECRET) as robot:
        send(robot_channel(robot, maker), message(named=('<at user_id="all"></at>', "@all\u202e")))
        assert not set(robot.said[0].text) & set("<>@\u202e")


@pytest.mark.parametrize("maker", MAKERS)
def test_hostile_names_at_a_robot(maker: str, tmp_path: Path) -> None:
    """Names, comments and people of every kind: plain text, nobody mentioned, no link, no markup, and no more lines."""
    for case, wrong in HOSTILE.items():
        title, text = hostile(tmp_path / case, wrong)
        what = dataclasses.replace(message(text, ("liu", wrong), name_of(case)), title=title)
        with RobotServer(KEY, SECRET) as robot:
            answer = send(robot_channel(robot, maker), what)
            assert answer.outcome == "sent", (case, answer)
            said = robot.said[0].text
        assert said.startswith(text.split("\n")[0]), case
        assert said.count("\n") <= text.count("\n") + 1, case
        assert not set(said.replace("#" + what.id[:8], "")) & set("<>@[]`*\\|#\r\x00\x1b\u202e\u2066\u200b"), case
        assert "://" not in said.replace("http://console", ""), case


@pytest.mark.parametrize("maker", MAKERS)
def test_200_is_not_success(maker: str) -> None:
    """A wrong key and a wrong signature are refusals, though HTTP says 200."""
    with RobotServer(KEY, SECRET) as robot:
        url = SecretStr(robot.url(maker).replace(KEY, "another-key"))
        wrong = [robot_channel(robot, maker, url=url)]
        wrong += [robot_channel(robot, maker, secret=SecretStr("wrong"))] if maker != "wecom" else []
        for settings in wrong:
            assert send(settings).outcome == "refused"
        assert robot.said == []
        assert all(robot.refused)


@pytest.mark.parametrize("maker", MAKERS)
def test_texts_fit(maker: str) -> None:
    """A long text is cut by bytes, between characters, and the id stays."""
    with RobotServer(KEY, SECRET) as robot:
        assert send(robot_channel(robot, maker), message("灯" * 30_000)).outcome == "sent"
        assert robot.said[0].text.endswith("…\n#ab12cd34")
        assert "�" not in robot.said[0].text


@pytest.mark.parametrize(("maker", "most"), [("wecom", 20), ("dingtalk", 20), ("feishu", 5)])
def test_over_the_limit_is_later(maker: str, most: int) -> None:
    """The robot's own word for too many; DingTalk's takes ten minutes."""
    with RobotServer(KEY, SECRET) as robot:
        answers = [send(robot_channel(robot, maker)) for _ in range(most + 1)]

        assert [answer.outcome for answer in answers] == ["sent"] * most + ["later"]
        assert answers[-1].retry_after_ms == (600_000 if maker == "dingtalk" else 60_000)


def _status(status: int, body: object) -> Any:
    def fault(handler: Any) -> bool:
        handler.answer(status, body)
        return True

    return fault


def _hang(handler: Any) -> bool:
    time.sleep(1.5)
    return True


def _close(handler: Any) -> bool:
    return True


def _drip(handler: Any) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(12):
        handler.wfile.write(b"x")
        time.sleep(0.25)
    return True


FAULTS = {
    "500": (_status(500, {}), "later"),
    "429": (_status(429, {}), "later"),
    "an HTML page": (_status(200, "<html>sign in</html>"), "refused"),
    "a list": (_status(200, []), "refused"),
    "closes": (_close, "unknown"),
    "hangs": (_hang, "unknown"),
    "drips": (_drip, "refused"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_a_robot(case: str) -> None:
    """What certainly did not arrive is `later`, what may have arrived `unknown`; nothing takes longer than the time-out."""
    fault, outcome = FAULTS[case]
    with RobotServer(KEY) as robot:
        robot.faults.append(fault)
        assert send(robot_channel(robot), timeout_s=1.0).outcome == outcome


def test_nobody_listens() -> None:
    """A refused connection sent nothing."""
    settings = ChannelSettings(kind="wecom", url=SecretStr("http://127.0.0.1:9/?key=x"), allow_private=True)

    assert send(settings).outcome == "later"


def test_a_webhook_is_signed_and_dated() -> None:
    """The receiver's own library verifies it; while a secret changes, both verify; another one does not."""
    other = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()
    with Receiver() as receiver:
        assert send(receiver.channel()).outcome == "sent"
        assert send(receiver.channel(f"{other} {WEBHOOK_SECRET}"), message(id_="two")).outcome == "sent"
        send(receiver.channel(other), message(id_="three"))

    assert list(receiver.shown) == ["ab12cd34ef567890", "two"]
    assert len(receiver.wrong) == 1


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "sent"), (204, "sent"), (302, "refused"), (400, "refused"), (410, "refused"), (429, "later"), (503, "later"), (0, "unknown")]
)  # fmt: skip
def test_what_a_receiver_answers(status: int, outcome: str) -> None:
    """A redirect is not followed; Retry-After counts."""
    with Receiver() as receiver:
        receiver.statuses.append(status)
        answer = send(receiver.channel())

        assert answer.outcome == outcome
        assert answer.retry_after_ms == (1000 if outcome == "later" else 0)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
 "224.0.0.1", "240.0.0.1",
     "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
     "2002:7f00:1::", "::"],
)  # fmt: skip
def test_private_addresses_are_not_called(address: str) -> None:
    """Loopback, private, link-local, shared, metadata, multicast, and IPv4 inside of IPv6."""
    assert forbidden(address, allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "0.0.0.0",  # noqa: S104
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
    ],
)
def test_metadata_is_never_called(address: str) -> None:
    """Not even by who allows private networks."""
    assert forbidden(address, allow_private=True)


def test_public_addresses_are_called() -> None:
    """And private ones where the settings say so."""
    assert not forbidden("1.1.1.1", allow_private=False)
    assert not forbidden("2606:4700::1111", allow_private=False)
    assert not forbidden("127.0.0.1", allow_private=True)
    assert not forbidden("::1", allow_private=True)


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://localhost/", "https://127.0.0.1/", "https://user:pw@example.com/", "https://[::1]/", "https://example.com:22/", "file:///etc/passwd", "https://2130706433/", "gopher://x"]
)  # fmt: skip
def test_what_is_not_public_https_is_refused(url: str) -> None:
    """Whatever way it is written."""
    with pytest.raises((ChannelError, NotSentError)):
        post(url, b"", {}, timeout_s=1, allow_private=False)


def test_a_name_that_changes_its_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved once: the connection goes to the address that was checked, not to what it says next."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *more: Any, **named: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if len(asked) > 1 or host != "rebind.test" else "93.184.216.34", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with pytest.raises((NotSentError, NoAnswerError)):
        post("https://rebind.test/", b"", {}, timeout_s=0.5, allow_private=False)

    assert asked.count("rebind.test") == 1


@pytest.mark.parametrize(("name", "right"), [("hook.test", True), ("other.test", False)])
def test_tls_is_of_the_name(name: str, right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked; the certificate must be of the name that was written."""
    key, certificate = _certificate(name)
    (tmp_path / "pair.pem").write_bytes(key + certificate)
    (tmp_path / "ca.pem").write_bytes(certificate)
    real = socket.getaddrinfo
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more, **named: real("127.0.0.1", *more, **named))
    with Receiver(tls=tmp_path / "pair.pem") as receiver:
        answer = send(receiver.channel(url=SecretStr(receiver.url.replace("http://127.0.0.1", "https://hook.test"))))

    assert answer.outcome == ("sent" if right else "later"), answer
    assert len(receiver.shown) == right


def _certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, certificate.public_bytes(serialization.Encoding.PEM)


class _Inbox:
    """Keeps mails; the next recipients or messages may be refused."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.recipient, self.data = "250 OK", "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data.startswith("250"):
            self.mails.append(envelope)
        return self.data


@pytest.fixture
def inbox() -> Iterator[tuple[_Inbox, int]]:
    """A mail server on this machine that wants a password."""
    box = _Inbox()

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and data.password == b"pass-canary"
        return AuthResult(success=right, handled=False)

    controller = Controller(
        box, hostname="127.0.0.1", port=0, authenticator=check, auth_require_tls=False, auth_required=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        controller.port = free.getsockname()[1]
    controller.start()
    yield box, controller.port
    controller.stop()


def mail(port: int, **more: Any) -> ChannelSettings:
    """The channel of the mail server."""
    return ChannelSettings(
        **{"kind": "email", "url": SecretStr(f"smtp://robot:pass-canary@127.0.0.1:{port}"), "sender": "ganzhi@example.org",
           "to": ["duty@example.org"], "people": {"liu": "liu@example.org"}, "allow_private": True, **more}
    )  # fmt: skip


def test_a_mail_arrives(inbox: tuple[_Inbox, int]) -> None:
    """With the id as its Message-ID, to whom it names as well."""
    box, port = inbox
    answer = send(mail(port), message(named=("liu",)))

    assert answer.outcome == "sent", answer
    raw = box.mails[0].content.decode()
    assert box.mails[0].rcpt_tos == ["duty@example.org", "liu@example.org"]
    assert "Message-ID: <ab12cd34ef567890.ganzhi@example.org>" in raw
    assert "Auto-Submitted: auto-generated" in raw


def test_hostile_names_in_a_mail(inbox: tuple[_Inbox, int], tmp_path: Path) -> None:
    """One subject of one line, no other header, nobody else gets it, and no part that is HTML."""
    box, port = inbox
    for case, wrong in HOSTILE.items():
        title, text = hostile(tmp_path / case, wrong)
        what = dataclasses.replace(message(text, ("liu", wrong), name_of(case)), title=title)
        assert send(mail(port), what).outcome == "sent", case
        assert box.mails[-1].rcpt_tos == ["duty@example.org", "liu@example.org"], case
        parsed = email.message_from_bytes(box.mails[-1].content, policy=email.policy.default)
        assert parsed.get_content_type() == "text/plain", case
        # Folding an encoded subject may cost a space (CPython), and nothing else.
        assert parsed["Subject"].replace(" ", "") == title.replace(" ", ""), case
        assert parsed["Bcc"] is None, case
        assert set("<>\x00\x1b\u202e").isdisjoint(parsed.get_content()), case


@pytest.mark.parametrize(("step", "said", "outcome"), [
    ("recipient", "550 no such user", "refused"), ("recipient", "451 later", "later"),
    ("data", "554 spam", "refused"), ("data", "452 full", "later"),
])  # fmt: skip
def test_what_a_mail_server_answers(inbox: tuple[_Inbox, int], step: str, said: str, outcome: str) -> None:
    """5xx never, 4xx later."""
    setattr(inbox[0], step, said)

    assert send(mail(inbox[1])).outcome == outcome


def test_mail_needs_tls_and_the_password(inbox: tuple[_Inbox, int]) -> None:
    """Without TLS nothing is said to a server that may be anywhere; a wrong password is a refusal, and is not told."""
    wrong = send(mail(inbox[1], url=SecretStr(f"smtp://robot:wrong-canary@127.0.0.1:{inbox[1]}")))

    assert send(mail(inbox[1], allow_private=False)).outcome == "refused"
    assert wrong.outcome == "refused", wrong
    assert "canary" not in wrong.detail
    assert inbox[0].mails == []


def test_apprise_reaches_another_service() -> None:
    """Its JSON plug-in against a server on this machine; an unknown scheme is a fault of the settings."""
    with RobotServer(KEY) as robot:
        port = robot.url("wecom").split(":")[2].split("/")[0]
        seen: list[int] = []
        robot.faults.append(lambda handler: seen.append(1) or handler.answer(200, {}) or True)
        channel = ChannelSettings(kind="apprise", url=SecretStr(f"json://127.0.0.1:{port}/x"))
        assert send(channel).outcome == "sent"
        assert seen == [1]
        robot.faults.append(_status(500, {}))
        assert send(channel).outcome == "later"
    with pytest.raises(ChannelError, match="Apprise"):
        send(ChannelSettings(kind="apprise", url=SecretStr("nosuch://x")))


class Recorder(RobotServer):
    """A service that takes whatever is sent to it, and keeps the bytes of the last request."""

    raw = b""

    def take(self, path: str, raw: bytes, now_s: float) -> dict[str, Any]:
        del path, now_s
        self.raw = raw
        return {}


def test_hostile_names_at_another_service(tmp_path: Path) -> None:
    """Through Apprise as JSON and as a form: the same clean text, which a parser gives back whole."""
    for case, wrong in HOSTILE.items():
        title, text = hostile(tmp_path / case, wrong)
        what = dataclasses.replace(message(text, ("liu", wrong), name_of(case)), title=title)
        for scheme in ("json", "form"):
            with Recorder(KEY) as service:
                port = service.url("wecom").split(":")[2].split("/")[0]
                url = SecretStr(f"{scheme}://127.0.0.1:{port}/x")
                assert send(ChannelSettings(kind="apprise", url=url), what).outcome == "sent", case
            body = service.raw.decode()
            said = json.loads(body)["message"] if scheme == "json" else parse_qs(body)["message"][0]
            assert said.split("\n")[0] == text.split("\n")[0], (case, scheme)
            assert not set(said.replace("#" + what.id[:8], "")) & NEVER, (case, scheme)
            assert "://" not in said.replace("http://console", ""), (case, scheme)


def test_hostile_names_at_a_webhook(tmp_path: Path) -> None:
    """A program gets JSON that says what the text says, signed; no text gets out of its place or into a header."""
    for case, wrong in HOSTILE.items():
        title, text = hostile(tmp_path / case, wrong)
        what = dataclasses.replace(message(text, (), name_of(case)), title=title)
        data: dict[str, Json] = {"id": what.id, "title": title, "text": text, "alerts": [{"where": plain(wrong)}]}
        with Receiver() as receiver:
            channel = open_channels(NotifySettings(channels={"x": receiver.channel()}, timeout_s=2.0))["x"]
            assert channel.send(what, data, doubtful=False).outcome == "sent", case
            assert receiver.wrong == [], case
            assert receiver.shown == {what.id: data}, case
        assert not set(title + text) & NEVER - {"#"}, case


WRONG = {
    "no url": ChannelSettings(kind="wecom"),
    "a webhook without a secret": ChannelSettings(kind="webhook", url=SecretStr("https://example.com/url-canary")),
    "a webhook's secret that is none": ChannelSettings(kind="webhook", url=SecretStr("https://example.com/"), secret=SecretStr("whsec_canary!")),
    "mail without a sender": ChannelSettings(kind="email", url=SecretStr("smtp://u:canary@h"), to=("a@b.c",)),
    "mail to nobody": ChannelSettings(kind="email", url=SecretStr("smtp://u:canary@h"), sender="a@b.c"),
    "mail to what is no address": ChannelSettings(kind="email", url=SecretStr("smtp://u:canary@h"), sender="a@b.c", to=("x\r\nBcc: y@z",)),
    "a fallback that is none": ChannelSettings(kind="wecom", url=SecretStr("https://x/"), fallback="nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_told_without_their_secrets(case: str) -> None:
    """At the start, with the channel's name."""
    with pytest.raises(ChannelError) as told:
        open_channels(NotifySettings(channels={"x": WRONG[case]}))

    assert "channel x" in str(told.value)
    assert "canary" not in str(told.value)


def test_no_secret_in_any_word(caplog: pytest.LogCaptureFixture) -> None:
    """Canaries in addresses, secrets and passwords are in no repr, no answer, no log and no error, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    with RobotServer(KEY, SECRET) as robot, Receiver() as receiver:
        for maker in MAKERS:
            settings = robot_channel(robot, maker)
            said = f"bad {robot.url(maker)} {settings.secret.get_secret_value()}"
            echo = _status(200, {"errcode": 40001, "errmsg": said, "code": 19021, "msg": said})
            robot.faults.extend([echo, _hang, _close])
            words = [
                repr(settings),
                str(settings),
                settings.model_dump_json(),
                *(repr(send(settings, timeout_s=0.5)) for _ in range(3)),
            ]
            assert not [word for word in words if "canary" in word]
        hook = receiver.channel()
        receiver.statuses.extend([400, 0])
        assert not [word for word in (repr(hook), repr(send(hook)), repr(send(hook))) if "canary" in word]
    closed = ChannelSettings(
        kind="email", url=SecretStr("smtp://u:pw-canary@127.0.0.1:9"), sender="a@b.c", to=("a@b.c",), allow_private=True
    )
    other = ChannelSettings(kind="apprise", url=SecretStr("json://user:pw-canary@127.0.0.1:9/path-canary"))
    assert not [word for word in (repr(send(closed)), repr(send(other)), repr(closed), repr(other)) if "canary" in word]
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("kind", "status", "body", "wait_ms"),
    [
        (WeCom, 200, {"errcode": 45009, "errmsg": "api freq out of limit"}, 60_000),
        (DingTalk, 200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}, 600_000),
        (Feishu, 200, {"code": 11232, "msg": "frequency limited"}, 60_000),
        (Feishu, 400, {"code": 99991400, "msg": "request trigger frequency limit"}, 60_000),
        (Feishu, 429, {"code": 99991400, "msg": "request trigger frequency limit"}, 60_000),
    ],
)
def test_too_many_is_later_and_no_refusal(kind: type[Robot], status: int, body: dict[str, Any], wait_ms: int) -> None:
    """The answers of real robots that are asked too often, as their makers and users tell them."""
    settings = ChannelSettings(kind="feishu", url=SecretStr("http://127.0.0.1:1/hook/x"))
    answer = kind(settings, 1.0).judge(Reply(status, {}, json.dumps(body).encode()))

    assert (answer.outcome, answer.retry_after_ms) == ("later", wait_ms)
