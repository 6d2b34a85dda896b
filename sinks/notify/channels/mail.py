"""E-mail by SMTP: TLS unless the server is in the same network, one message to everybody, the id as Message-ID."""

import smtplib
import ssl
import urllib.parse
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from typing import ClassVar, Final

from schemas.codec import Json
from schemas.errors import ChannelError
from schemas.settings import ChannelSettings
from sinks.notify.channels.base import Answer, body_of, reached, redacted
from sinks.notify.records import Message

_PORTS: Final = {"smtp": 587, "smtps": 465}


class Mail:
    """One mail server.

    Args:
        settings: of the channel; `url` is `smtps://user:password@host:465` or `smtp://…`, which must offer STARTTLS.
        timeout_s: for each step with the server.

    Raises:
        ChannelError: the address is none, there is no sender, or nobody could get a message.
    """

    per_minute: ClassVar[int] = 30
    bytes_max: ClassVar[int] = 60_000
    gap_ms: ClassVar[int] = 0
    recognises: ClassVar[bool] = True

    def __init__(self, settings: ChannelSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._server = urllib.parse.urlsplit(settings.url.get_secret_value())
        if self._server.scheme not in _PORTS or not self._server.hostname:
            raise ChannelError("the url of an email channel is smtps://user:password@host or smtp://…")
        if "@" not in settings.sender or not (settings.to or settings.people):
            raise ChannelError("an email channel needs a sender, and somebody in `to` or `people`")
        for address in (settings.sender, *settings.to, *settings.people.values()):
            try:
                Address(addr_spec=address)
            except (ValueError, IndexError) as error:
                raise ChannelError(f"{address!r} is no e-mail address") from error

    def send(self, message: Message, data: Mapping[str, Json], *, doubtful: bool) -> Answer:
        """Sends to everybody of the channel and to whom the message names."""
        del data
        to = list(dict.fromkeys((*self._settings.to, *reached(self._settings, message))))
        if not to:
            return Answer("refused", "nobody of this channel is named")
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._settings.sender, ", ".join(to), message.title
        mail["Date"] = format_datetime(localtime())
        mail["Message-ID"] = f"<{message.id}.ganzhi@{self._settings.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(body_of(message, self._settings, self.bytes_max, doubtful=doubtful))
        try:
            server = self._connect()
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            return Answer("refused", self._told(error))
        except (smtplib.SMTPException, OSError) as error:
            return Answer("later", self._told(error))
        return self._hand_over(server, mail)

    def _hand_over(self, server: smtplib.SMTP, mail: EmailMessage) -> Answer:
        try:
            refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            temporary = all(400 <= code < 500 for code, _ in error.recipients.values())
            return Answer("later" if temporary else "refused", self._told(error))
        except smtplib.SMTPResponseException as error:
            return Answer("later" if 400 <= error.smtp_code < 500 else "refused", self._told(error))
        except (smtplib.SMTPException, OSError) as error:
            return Answer("unknown", self._told(error))  # the text may have been taken
        finally:
            _leave(server)
        return Answer("sent", f"not to {len(refused)} of the recipients" if refused else "")

    def _connect(self) -> smtplib.SMTP:
        server, tls = self._server, ssl.create_default_context()
        host, port = server.hostname or "", server.port or _PORTS[server.scheme]
        smtp: smtplib.SMTP
        if server.scheme == "smtps":
            smtp = smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=tls)
        else:
            smtp = smtplib.SMTP(host, port, timeout=self._timeout_s)
        try:
            if server.scheme == "smtp" and (not self._settings.allow_private or smtp.has_extn("starttls")):
                smtp.starttls(context=tls)
            if server.username:
                user, password = urllib.parse.unquote(server.username), urllib.parse.unquote(server.password or "")
                smtp.login(user, password)
        except BaseException:
            _leave(smtp)
            raise
        return smtp

    def _told(self, error: Exception) -> str:
        server = self._server
        secrets = [urllib.parse.unquote(part) for part in (server.username, server.password) if part]
        return redacted(f"{type(error).__name__}: {error}", self._settings, secrets)


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()
