"""The format of a rule pack: what may be written, as models that refuse everything else.

    pack: lighting
    include: builtin/lighting            # or a list; their rules come first
    overrides:                           # of rules in this pack, included ones too
      - {alert: LightsInEmptyRoom, space: [b2-0405], params: {power: 80 W}, for: 30m, source: measured on 2 March}
      - {alert: LightsInEmptyRoom, tags: [archive], enabled: false}
    rules:
      - alert: LightsInEmptyRoom
        each: {space: [office], not_tags: [emergency]}
        roles: {light: light_power, people: {role: occupancy, from: self, optional: false}}
        params: {power: 50 W}
        expr: light > $power and people == 0
        clear: light <= $power or people > 0
        for: 20m
        keep_firing_for: 2m
        escalate: {critical: 2h}         # so long after the start; the same episode
        remind: 1h                       # for the notifier
        inhibited_by: [GatewayDown]      # not raised while that is pending or firing here, or on what this belongs to
        enabled: true                    # false: only where an override says true
        wastes: [light]
        labels: {severity: warning}
        annotations: {zh: {summary: …, action: …}, en: {summary: …, action: …}}
        source: where the thresholds come from

A pack in a document has its includes already in it.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from schemas.codec import Json

SUBJECTS: Final = ("space", "equip", "point", "station", "vehicle", "building", "gateway", "node")
SEVERITIES: Final = ("info", "warning", "critical")
"""From low to high."""
ANYTHING: Final = "any"
"""As a kind: all of them. As a role: whatever the point has; only with `each: {point: …}`."""

DURATION_MAX_MS: Final = 400 * 86_400_000
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,9})\s*(ms|s|min|m|h|d)\s*")


def parse_duration(text: str) -> int:
    """Milliseconds of a duration as Prometheus writes it: `20m`, `1h30m`, `90s`, `0s`; `min` is taken for `m`.

    Raises:
        ValueError: it is none, or longer than 400 days.
    """
    at = total = 0
    while match := _DURATION.match(text, at):
        total += int(match.group(1)) * _UNIT_MS[match.group(2)]
        at = match.end()
    if not text or at != len(text):
        raise ValueError(f"{text!r} is not a duration; write 20m, 1h30m or 90s")
    if total > DURATION_MAX_MS:
        raise ValueError(f"{text!r} is longer than 400 days")
    return total


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _worded(value: object) -> object:
    """Whatever YAML made of a scalar, as text: `0`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _milliseconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_worded)]
Duration = Annotated[int, BeforeValidator(_milliseconds), Field(ge=0, le=DURATION_MAX_MS)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Each(_Model):
    """Which subjects a rule runs on: the kinds of exactly one sort, and tags that they must or must not have.

    Kinds of points are their roles, of stations their waste classes, of vehicles what drives them, of buildings their
    class; gateways and nodes of the balance have none. Tags are those of spaces; those of an equip, point or station
    are its space's, the tag of a vehicle is its special purpose.
    """

    space: Words | None = None
    equip: Words | None = None
    point: Words | None = None
    station: Words | None = None
    vehicle: Words | None = None
    building: Words | None = None
    gateway: Words | None = None
    node: Words | None = None
    tags: Words = ()
    not_tags: Words = ()
    lacks: Words = ()
    """roles that the subject must not have: what another rule covers where there is a sensor"""

    @model_validator(mode="after")
    def _one(self) -> "Each":
        if sum(getattr(self, sort) is not None for sort in SUBJECTS) != 1:
            raise ValueError(f"names exactly one of {', '.join(SUBJECTS)}")
        return self

    @property
    def sort(self) -> str:
        """space, equip, point, station or vehicle."""
        return next(sort for sort in SUBJECTS if getattr(self, sort) is not None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds; empty for all."""
        kinds: tuple[str, ...] = getattr(self, self.sort)
        return () if ANYTHING in kinds else kinds


class Binding(_Model):
    """Where a role of the rule comes from: points of the first of `role` that there is, of some sub-items or equips.

    `from` says whose points: the subject's own, those of the nearest parent that has any (a space's parents are spaces,
    the building and the site; an equip's are equips, then the space where it stands; a point's its equip and space),
    those of the spaces that an equip serves, those of the site itself, or those that a node of the balance adds (plus)
    or takes away (minus). An optional role that is missing leaves out what the expression says of it. `flow_use` and
    `not_flow_use` choose points by what their flow is for; one that does not say is for `use`.
    Of a building's points those that count in its supply are taken where there are any: its parts are in them.
    """

    role: Words
    reach: Literal["self", "parent", "serves", "site", "plus", "minus"] = Field(default="self", alias="from")
    optional: bool = False
    sub_item: Words = ()
    equip: Words = ()
    not_equip: Words = ()
    flow_use: Words = ()
    not_flow_use: Words = ()


def _binding(value: object) -> object:
    return {"role": value} if isinstance(value, str | list) else value


class Annotation(_Model):
    """What people read."""

    summary: str
    action: str


class Override(_Model):
    """Other thresholds for the subjects that fit every selector; of several overrides that fit, the later one wins."""

    alert: Words = ()
    site: Words = ()
    space: Words = ()
    """ids; a space counts for everything in it"""
    subject: Words = ()
    kind: Words = ()
    tags: Words = ()
    enabled: bool = True
    for_ms: Duration | None = Field(default=None, alias="for")
    keep_ms: Duration | None = Field(default=None, alias="keep_firing_for")
    severity: str | None = None
    params: dict[Name, Text] = Field(default_factory=dict)
    source: str = ""
    """where its numbers come from, as of a rule's"""


class Rule(_Model):
    """One rule as it was written; times in milliseconds."""

    alert: Name
    each: Each
    roles: dict[Name, Annotated[Binding, BeforeValidator(_binding)]]
    expr: Text
    clear: Text = ""
    estimate: Text = ""
    for_ms: Duration = Field(default=0, alias="for")
    keep_ms: Duration = Field(default=0, alias="keep_firing_for")
    stale_ms: Duration | None = Field(default=None, alias="stale_after")
    escalate: dict[str, Duration] = Field(default_factory=dict)
    remind_ms: Duration | None = Field(default=None, alias="remind")
    inhibited_by: Words = ()
    enabled: bool = True
    clock: Literal["live", "data"] = "live"
    wastes: Words = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[Literal["zh", "en"], Annotation]
    source: str
    params: dict[Name, Text] = Field(default_factory=dict)
    overrides: tuple[Override, ...] = ()

    @field_validator("roles", "params")
    @classmethod
    def _sorted(cls, found: dict[str, Any]) -> dict[str, Any]:
        """By name: a document has sorted keys, and the index of a role may not depend on who reads the pack."""
        return dict(sorted(found.items()))

    @property
    def severity(self) -> str:
        """The severity label; `warning` where there is none."""
        return self.labels.get("severity", "warning")

    def steps(self, severity: str) -> tuple[tuple[str, int], ...]:
        """(severity, ms after the start) of every step up from a severity, in the order of time."""
        rank = SEVERITIES.index(severity) if severity in SEVERITIES else -1
        found = []
        for name, after_ms in sorted(self.escalate.items(), key=lambda step: step[1]):
            if name in SEVERITIES and SEVERITIES.index(name) > rank:
                rank = SEVERITIES.index(name)
                found.append((name, after_ms))
        return tuple(found)


class Pack(_Model):
    """A pack: its rules in order. `include` is for files only; in a document it is empty."""

    pack: str
    include: Words = ()
    rules: tuple[Rule, ...] = ()
    overrides: tuple[Override, ...] = ()


def parse_pack(pack: dict[str, Json]) -> Pack:
    """A pack of a document.

    Raises:
        ValidationError: pydantic's, with the place of every fault; `pack.check_packs` makes faults of it.
    """
    return Pack.model_validate(pack)


def overrides_of(pack: Pack, rule: Rule) -> tuple[Override, ...]:
    """Overrides that may concern a rule: its own, then the pack's."""
    return (*rule.overrides, *(one for one in pack.overrides if rule.alert in one.alert))


def fields_at(path: Sequence[str | int]) -> list[str]:
    """Keys that may stand at a place of a pack, for suggestions."""
    last = next((part for part in reversed(path) if isinstance(part, str)), "")
    models: dict[str, type[BaseModel]] = {
        "rules": Rule, "each": Each, "overrides": Override, "roles": Binding,
        "annotations": Annotation, "zh": Annotation, "en": Annotation,
    }  # fmt: skip
    model = models.get(last, Binding if "roles" in path else Pack)
    return [field.alias or name for name, field in model.model_fields.items()]


__all__ = [
    "ANYTHING", "SEVERITIES", "SUBJECTS", "Annotation", "Binding", "Each", "Override", "Pack", "Rule",
    "ValidationError", "fields_at", "overrides_of", "parse_duration", "parse_pack",
]  # fmt: skip
