"""What the messages of a foreign topic mean: a mapping file (YAML).

    topic: plant.meters            # as the broker names it
    name: plant                    # of the bridge: its group, transactions and topic of rejected messages
    format: json                   # or avro
    schema: reading.avsc           # avro: a file, or a folder of ID.avsc; beside the mapping
    wire: confluent                # avro: plain (the body), confluent (0, id, body), single (C3 01, fingerprint, body)
    site: campus                   # or "{site}": a field of the message
    mode: live
    time: {column: ts, format: iso}
    long:                          # a message is a reading
      point: "{meter}.{register}"
      points: {"4711.1.8.0": main.import}
      value: {column: value, unit: kWh}
    quality: {column: flag, estimated: [E], suspect: [S]}

Instead of `long`, `wide: {field: {point: "{meter}.energy", unit: kWh}}` makes a reading of each such field that a
message has. Names are those of the message's top level; `a.b` is field b of the object (record) a. `$key` is the
message's key as text, `$time` the time that Kafka gives it.
"""

from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.errors import ConfigurationError
from streams.sources.mapping import Long, Number, Quality, Time, WideColumn, places

KEY: Final = "$key"
TIME: Final = "$time"


class BridgeMapping(BaseModel):
    """A mapping file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str = Field(min_length=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    site: str
    time: Time
    format: Literal["json", "avro"] = "json"
    schema_path: Path | None = Field(default=None, alias="schema")
    wire: Literal["plain", "confluent", "single"] = "plain"
    mode: Literal["live", "backfill"] = "live"
    start: Literal["earliest", "latest"] = Field(default="earliest", description="where to begin the first time")
    nulls: list[str] = Field(default_factory=list)
    long: Long | None = None
    wide: dict[str, WideColumn] = Field(default_factory=dict)
    quality: Quality | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "BridgeMapping":
        if (self.long is None) == (not self.wide):
            raise ValueError("exactly one of long and wide is wanted")
        if (self.format == "avro") != (self.schema_path is not None):
            raise ValueError("schema is wanted for avro, and only there")
        if self.format != "avro" and self.wire != "plain":
            raise ValueError("wire is for avro only")
        if self.schema_path is not None and self.schema_path.is_dir() != (self.wire == "confluent"):
            raise ValueError("a folder of ID.avsc goes with wire: confluent, a file with the others")
        return self

    @field_validator("time")
    @classmethod
    def _no_start(cls, time: Time) -> Time:
        if time.stamp == "start":
            raise ValueError("stamp: start is for files; a bridge takes the time that ends an interval")
        return time

    def values(self) -> list[tuple[str, str, Number]]:
        """(field that has the value, template of the point, how the number is meant) of each reading of a message."""
        if self.long is not None:
            return [(self.long.value.column, self.long.point, self.long.value)]
        return [(field, column.point, column) for field, column in self.wide.items()]

    def fields(self) -> list[str]:
        """Every name that is looked for in a message, each once."""
        names = [
            name for template in (self.site, *(point for _, point, _ in self.values())) for name in places(template)
        ]
        names += [self.time.column, *(field for field, _, _ in self.values())]
        if self.quality is not None:
            names.append(self.quality.column)
        return list(dict.fromkeys(names))

    def key_fields(self, template: str) -> list[str]:
        """The names that decide which point a reading belongs to, and of which quality it is."""
        names = [*places(self.site), *places(template)]
        if self.quality is not None:
            names.append(self.quality.column)
        return list(dict.fromkeys(names))


def load(path: Path) -> BridgeMapping:
    """Reads a mapping file; the schema's path is taken relative to it.

    Raises:
        ConfigurationError: it cannot be read, or is not a mapping; the message says where.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"mapping {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"mapping {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"mapping {path} says nothing; it must name topic, name, site, time, and long or wide")
    if isinstance(raw.get("schema"), str):
        raw["schema"] = path.parent / raw["schema"]
        if not raw["schema"].exists():
            raise ConfigurationError(f"mapping {path}: there is no schema {raw['schema']}")
    try:
        return BridgeMapping.model_validate(raw)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)]
        raise ConfigurationError(f"mapping {path}:\n" + "\n".join(lines)) from None
