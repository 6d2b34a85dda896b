"""Open alerts as an Atom feed (RFC 4287), for readers and calendars; its address holds a token of its own."""

import datetime as dt
from typing import Final
from xml.etree import ElementTree as ET

from starlette.responses import Response

from sinks.console import texts
from sinks.console.asked import Asked
from sinks.console.formatting import clean
from sinks.console.pages import rows

NAMESPACE: Final = "http://www.w3.org/2005/Atom"
ENTRIES_MAX: Final = 200


def atom(asked: Asked) -> Response:
    """The feed of who the token is of."""
    base = asked.parts.settings.console.public_url.rstrip("/") or str(asked.request.base_url).rstrip("/")
    alerts = rows.worst_first(asked.parts.live.open_alerts(asked.user))[:ENTRIES_MAX]
    clocks = rows.clocks(asked, alerts)
    root = ET.Element("feed", xmlns=NAMESPACE)
    _add(root, "title", asked.say("open alerts"))
    _add(root, "id", f"{base}/feeds")
    _add(root, "updated", _time(max((one.known_at for one in alerts), default=0)))
    ET.SubElement(root, "link", href=f"{base}/")
    for alert in alerts:
        row = rows.row(asked, alert, clocks[alert.key[0]])
        entry = ET.SubElement(root, "entry")
        _add(entry, "title", f"{texts.word(asked.language, row.severity)} {row.what} · {row.where}".strip())
        _add(entry, "id", f"{base}/alert?{row.key}")
        _add(entry, "updated", _time(alert.known_at))
        ET.SubElement(entry, "link", href=f"{base}/alert?{row.key}")
        _add(
            entry,
            "summary",
            " · ".join(part for part in (row.around, row.since, row.lasted, row.wasted, row.cost) if part),
        )
        _add(ET.SubElement(entry, "author"), "name", asked.say("brand"))
    return Response(ET.tostring(root, "unicode", xml_declaration=True), media_type="application/atom+xml")


def _add(parent: ET.Element, name: str, said: str) -> None:
    ET.SubElement(parent, name).text = clean(said)


def _time(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat(timespec="seconds")
