"""*Audit*: who did what, newest first, as the log has it."""

from typing import Final

from starlette.responses import Response

from sinks.console.asked import Asked

SHOWN: Final = 300


def show(asked: Asked) -> Response:
    """The page."""
    zones = [site.zone for site in asked.parts.live.places.sites.values()]
    events = asked.parts.audit.newest(SHOWN)
    return asked.page("audit.html", active="audit", events=events, zone=zones[0] if zones else None, shown=SHOWN)
