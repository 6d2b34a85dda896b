"""`ganzhi meter swap|multiplier|install|remove|reset|width|withdraw|history`: facts about meters, told and shown."""

import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.meter_facts import Meter, Register, Said, find, history, message, ratio
from schemas.control import signing_key
from schemas.errors import ConfigurationError
from schemas.settings import data_home, load
from schemas.topics import METER_READINGS
from schemas.units import scale
from streams.published import read_documents
from streams.sources.batching import BatchWriter

app = typer.Typer()
group = typer.Typer(
    no_args_is_help=True, help="What happened to a meter: swapped, another multiplier, reset …; history."
)
app.add_typer(group, name="meter")

MeterId = Annotated[str, typer.Argument(metavar="METER", help="id or serial number of the meter", show_default=False)]
At = Annotated[str, typer.Option(help="when, like 2026-05-04T10:30; without an offset in the site's time zone")]
Final = Annotated[
    list[str] | None, typer.Option(help="last value of the old meter; of several registers: REGISTER=VALUE, repeated")
]
Initial = Annotated[
    list[str] | None, typer.Option(help="first value of the new meter; of several registers: REGISTER=VALUE, repeated")
]
Read = Annotated[
    list[str] | None, typer.Option(help="value at that time, if somebody read it: VALUE or REGISTER=VALUE")
]
Serial = Annotated[str, typer.Option(help="serial number of the new meter")]
SerialBefore = Annotated[str, typer.Option(help="serial number of the old meter")]
Comment = Annotated[str, typer.Option(help="free text, kept with the fact")]
Replaces = Annotated[str, typer.Option(help="id of an earlier fact of this meter that was wrong and counts no more")]
Site = Annotated[str | None, typer.Option(help="site of the meter, where several have one of that name")]
Profile = Annotated[str | None, typer.Option(help="profile whose stack and signing key are used")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]


@group.callback()
def meter() -> None:
    """Facts about meters. They are signed events: told late, they correct what was published by settlement."""


@group.command()
def swap(
    meter_id: MeterId,
    at: At,
    final: Final = None,
    initial: Initial = None,
    multiplier: Annotated[str | None, typer.Option(help="of the new meter, where it is another: 40, 1.5, 3/2")] = None,
    serial: Serial = "",
    serial_before: SerialBefore = "",
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A meter was exchanged: the last value of the old one, the first value of the new one."""
    chosen = _find(meter_id, site, profile)
    if initial is None:
        raise ConfigurationError("a swap needs --initial, the first value of the new meter (often 0)")
    if final is None:
        _note(text("no final read"))
    said = Said(
        "swapped", chosen.time(at),
        chosen.by_register(final or [], "--final"), chosen.by_register(initial, "--initial"),
        multiplier=ratio(multiplier) if multiplier else None, serial=serial, serial_before=serial_before,
        comment=comment, replaces=replaces,
    )  # fmt: skip
    _send(chosen, said, profile, as_json)


@group.command("multiplier")
def set_multiplier(
    meter_id: MeterId,
    value: Annotated[str, typer.Argument(metavar="RATIO", help="usage per unit that is sent: 40, 1.5, 3/2")],
    at: At,
    read: Read = None,
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Another multiplier or CT ratio from a time on; without --read the step around it is shared by time."""
    chosen = _find(meter_id, site, profile)
    said = Said(
        "multiplier", chosen.time(at), chosen.by_register(read or [], "--read"), multiplier=ratio(value),
        comment=comment, replaces=replaces,
    )  # fmt: skip
    _send(chosen, said, profile, as_json)


@group.command()
def install(
    meter_id: MeterId,
    at: At,
    initial: Initial = None,
    multiplier: Annotated[str | None, typer.Option(help="usage per unit that is sent: 40, 1.5, 3/2")] = None,
    serial: Serial = "",
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A meter was installed where none was: usage counts from its first value."""
    chosen = _find(meter_id, site, profile)
    if initial is None:
        raise ConfigurationError("an installation needs --initial, the first value of the meter (often 0)")
    said = Said(
        "installed", chosen.time(at), initial=chosen.by_register(initial, "--initial"), serial=serial,
        multiplier=ratio(multiplier) if multiplier else None, comment=comment, replaces=replaces,
    )  # fmt: skip
    _send(chosen, said, profile, as_json)


@group.command()
def remove(
    meter_id: MeterId,
    at: At,
    final: Final = None,
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A meter was taken away; its last value counts at once."""
    chosen = _find(meter_id, site, profile)
    if final is None:
        _note(text("no final read"))
    said = Said(
        "removed", chosen.time(at), chosen.by_register(final or [], "--final"), comment=comment, replaces=replaces
    )  # fmt: skip
    _send(chosen, said, profile, as_json)


@group.command()
def reset(
    meter_id: MeterId,
    at: At,
    final: Final = None,
    initial: Initial = None,
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The registers of a meter were set back; to 0, unless --initial says otherwise."""
    chosen = _find(meter_id, site, profile)
    said = Said(
        "reset", chosen.time(at), chosen.by_register(final or [], "--final"),
        chosen.by_register(initial or [], "--initial"), comment=comment, replaces=replaces,
    )  # fmt: skip
    _send(chosen, said, profile, as_json)


@group.command()
def width(
    meter_id: MeterId,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="value at which the registers begin again, as 100000")],
    at: At,
    comment: Comment = "",
    replaces: Replaces = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """The registers of a meter roll over at another value."""
    chosen = _find(meter_id, site, profile)
    spans = {register.point: register.value(value) for register in chosen.registers}
    _send(chosen, Said("width", chosen.time(at), span=spans, comment=comment, replaces=replaces), profile, as_json)


@group.command()
def withdraw(
    meter_id: MeterId,
    event_id: Annotated[str, typer.Argument(metavar="ID", help="of the fact, as `history` shows it")],
    comment: Comment = "",
    site: Site = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A fact was wrong: it counts no more, and nothing comes in its place."""
    chosen = _find(meter_id, site, profile)
    wrong = next(
        (t.fields for t in history(load(profile=profile).kafka, chosen) if t.fields["event_id"] == event_id), None
    )  # fmt: skip
    if wrong is None:
        raise ConfigurationError(f"no fact {event_id!r} of meter {chosen.id}; `ganzhi meter history` lists them")
    said = Said(str(wrong["kind"]), int(str(wrong["at_ms"])), replaces=event_id, comment=comment, void=True)
    _send(chosen, said, profile, as_json)


@group.command("history")
def show_history(meter_id: MeterId, site: Site = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Everything that was ever told of a meter, what counts and what does not."""
    chosen = _find(meter_id, site, profile)
    found = history(load(profile=profile).kafka, chosen)
    if as_json:
        for told in found:
            fields = {name: value for name, value in told.fields.items() if name != "signature"}
            print(json.dumps({**fields, "known_at": told.known_at, "state": told.state}, ensure_ascii=False))
        return
    console = paper()
    if not found:
        console.print(text("no facts"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("happened", "told", "what", "values", "state", "id"):
        table.add_column(text(name), no_wrap=name in ("happened", "values"), overflow="fold")
    for told in found:
        fields = told.fields
        table.add_row(
            _local(int(str(fields["at_ms"])), chosen),
            _local(told.known_at, chosen),
            text("fact " + str(fields["kind"])) if fields["registers"] else text("fact withdrawn"),
            escape(_values(chosen, fields)),
            text(f"fact state {told.state}") if told.state in ("waiting", "counts", "late", "replaced") else told.state,
            escape(str(fields["event_id"])),
        )
    console.print(table)
    if any(told.state == "late" for told in found):
        console.print(text("late facts settle"))


def _find(meter_id: str, site: str | None, profile: str | None) -> Meter:
    return find(read_documents(load(profile=profile).kafka), meter_id, site)


def _send(chosen: Meter, said: Said, profile: str | None, as_json: bool) -> None:
    settings = load(profile=profile)
    event_id, signed = message(chosen, said, signing_key(data_home(settings.profile)))
    with BatchWriter(settings.kafka, {chosen.site.site: chosen.site}) as writer:
        writer.raw(METER_READINGS, chosen.site.partition, chosen.site.site.encode(), signed)
    if as_json:
        print(json.dumps({"event_id": event_id, "site": chosen.site.site, "meter": chosen.id, "at_ms": said.at_ms}))
        return
    when = _local(said.at_ms, chosen)
    paper().print(f"{text('fact sent')}: {text(f'fact {said.kind}')} {chosen.id}, {when}, {event_id}", highlight=False)
    paper().print(text("fact sent next"), style="dim", highlight=False)


def _note(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="yellow", highlight=False)


def _local(time_ms: int, chosen: Meter) -> str:
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, chosen.zone):%Y-%m-%d %H:%M}"


def _values(chosen: Meter, fields: dict[str, Any]) -> str:
    """What a fact says, in the units of the points."""
    names = {register.number: register for register in chosen.registers}
    parts = []
    for said in fields["registers"]:
        register = names.get(said["point"])
        name = "" if len(names) == 1 or register is None else f"{register.name} "
        final, initial = (_shown(said[key], register) for key in ("final", "initial"))
        if final or initial:
            parts.append(
                f"{name}{final or '?'} → {initial or '?'}" if fields["kind"] != "removed" else f"{name}{final}"
            )
        if said["numerator"] is not None:
            parts.append(
                f"{name}x {said['numerator']}" + (f"/{said['denominator']}" if said["denominator"] != 1 else "")
            )
        if said["span"] is not None:
            parts.append(f"{name}{_shown(said['span'], register)}")
    serials = f" ({fields['serial_before'] or '?'} → {fields['serial']})" if fields["serial"] else ""
    return ", ".join(parts) + serials


def _shown(value: int | None, register: Register | None) -> str:
    if value is None:
        return ""
    if register is None:
        return str(value)
    whole = Fraction(value) / scale(register.unit, "register")
    return f"{Decimal(whole.numerator) / Decimal(whole.denominator):,f} {register.unit}"
