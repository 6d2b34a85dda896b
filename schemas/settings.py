"""Settings of a process: addresses, sizes, timeouts. None of them changes an output; config documents do.

Sources, strongest first: flags of a command, the environment (`GANZHI_KAFKA__BOOTSTRAP`), the file named by
`GANZHI_CONFIG` (TOML), the run file of an embedded stack that is up, the defaults here. Secrets are `SecretStr`: they
print as asterisks.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.errors import ConfigurationError


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Group):
    """Where the log is."""

    bootstrap: str = "127.0.0.1:19092"
    prefix: str = Field(
        default="",
        description="put before every topic, group and transactional id, so that several systems can share a cluster",
    )
    partitions: int = Field(default=4, ge=1, le=10_000, description="of each input topic when it is created")
    replication: int = Field(default=1, ge=1, le=7)
    security: dict[str, SecretStr] = Field(default_factory=dict, description="further librdkafka settings (TLS, SASL)")


class ClickHouseSettings(_Group):
    """Where history is kept and asked for."""

    host: str = "127.0.0.1"
    port: int = Field(default=18123, ge=1, le=65535)
    secure: bool = False
    database: str = "ganzhi"
    writer_user: str = "default"
    writer_password: SecretStr = SecretStr("")
    reader_user: str = "reader"
    reader_password: SecretStr = SecretStr("")


class WorkerSettings(_Group):
    """How a worker commits and caches; outputs do not depend on it."""

    group: str = "worker"
    instance: str = Field(
        default="", description="static group membership: the same worker restarted keeps its partitions"
    )
    commit_interval_s: float = Field(default=1.0, gt=0, le=30)
    snapshot_interval_s: float = Field(default=30.0, ge=1, description="not more often than this")
    snapshot_replay_s: float = Field(
        default=2.0, gt=0, description="and only when this much work lies behind the last one"
    )
    session_timeout_s: float = Field(default=6.0, ge=2)
    heartbeat_s: float = Field(default=1.0, gt=0)
    tick_interval_s: float = Field(default=1.0, gt=0)


class BridgeSettings(_Group):
    """How a bridge reads a foreign topic and packs what it finds."""

    instance: str = Field(
        default="", description="of two bridges with one mapping each needs its own: it names their transactions"
    )
    commit_interval_s: float = Field(default=1.0, gt=0, le=10, description="a reading waits at most so long for others")
    readings_max: int = Field(default=500_000, ge=1000, le=5_000_000, description="and for at most so many")
    session_timeout_s: float = Field(default=10.0, ge=2)


class HealthSettings(_Group):
    """Where a process serves `/health` and `/metrics`."""

    host: str = Field(default="127.0.0.1", description="loopback unless told otherwise")
    port: int = Field(default=0, ge=0, le=65535, description="0: nowhere; each process needs its own")


class SinkSettings(_Group):
    """How the ClickHouse sink cuts its ranges."""

    group: str = "sink-clickhouse"
    instance: str = Field(
        default="", description="static group membership: the same sink restarted keeps its partitions"
    )
    session_timeout_s: float = Field(default=10.0, ge=2)
    flush_interval_s: float = Field(default=2.0, gt=0)
    range_rows_max: int = Field(default=2_000_000, ge=1000)
    range_bytes_max: int = Field(default=256 << 20, ge=1 << 20)


class ChannelSettings(_Group):
    """One way to reach people. Addresses are secrets: a robot's key is in its address."""

    kind: Literal["wecom", "dingtalk", "feishu", "email", "webhook", "apprise"]
    url: SecretStr = Field(
        default=SecretStr(""), description="of the robot or webhook; apprise: its URL; email: smtp(s)://"
    )
    secret: SecretStr = Field(
        default=SecretStr(""), description="signs; two of a webhook, separated by a space, while it changes"
    )
    sender: str = Field(default="", description="email: From")
    to: tuple[str, ...] = Field(default=(), description="email: who gets everything of this channel")
    people: dict[str, str] = Field(
        default_factory=dict, description="person of the model: user id, mobile or address here"
    )
    fallback: str = Field(default="", description="channel that gets what this one does not take")
    per_minute: int = Field(default=0, ge=0, le=6000, description="0: what its kind allows")
    allow_private: bool = Field(
        default=False, description="may be in a private network or on this machine, without TLS"
    )

    @field_validator("to", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class NotifySettings(_Group):
    """Who can be reached how. Who is told what is in the model (`routes`)."""

    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    link: str = Field(default="", description="address of the console, for links in messages")
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    give_up_s: float = Field(default=120.0, gt=0, description="a channel that takes nothing for so long is down")
    cost_wait_s: float = Field(
        default=20.0, ge=0, le=3600, description="the end of an alert waits so long for the last usage that it wasted"
    )


class OidcSettings(_Group):
    """Single sign-on. Off while `issuer` is empty."""

    issuer: str = Field(default="", description="https://…; its /.well-known/openid-configuration is read")
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    scope: str = "openid profile email"
    user_claim: str = Field(
        default="preferred_username",
        description="claim that is the name of the user; the provider must not let people choose it",
    )
    label: str = Field(default="", description="what the button says; empty: the host of the issuer")


class ConsoleSettings(_Group):
    """The web console."""

    host: str = Field(default="127.0.0.1", description="address to listen on; loopback unless told otherwise")
    port: int = Field(default=18080, ge=1, le=65535)
    public_url: str = Field(
        default="", description="https://… as browsers see it, behind a proxy; empty: host and port"
    )
    proxies: tuple[str, ...] = Field(
        default=(), description="addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    tls_certificate: str = Field(default="", description="PEM file; with tls_key the console speaks TLS itself")
    tls_key: str = ""
    session_idle_s: int = Field(default=8 * 3600, ge=60, description="a session that nobody uses ends")
    session_max_s: int = Field(default=7 * 86_400, ge=60, description="and any session ends")
    oidc: OidcSettings = OidcSettings()


class SettleSettings(_Group):
    """When `ganzhi up` settles by itself."""

    nightly: str = Field(
        default="02:30",
        pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d$",
        description="HH:MM of each site's own day; empty: never",
    )


class Settings(BaseSettings):
    """All settings of a process; `load()` reads them."""

    model_config = SettingsConfigDict(env_prefix="GANZHI_", env_nested_delimiter="__", frozen=True, extra="forbid")

    profile: str = "default"
    language: str = Field(default="", description="zh or en; empty: from LANG")
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    worker: WorkerSettings = WorkerSettings()
    bridge: BridgeSettings = BridgeSettings()
    health: HealthSettings = HealthSettings()
    sink: SinkSettings = SinkSettings()
    notify: NotifySettings = NotifySettings()
    console: ConsoleSettings = ConsoleSettings()
    settle: SettleSettings = SettleSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file, run file of the profile."""
        del dotenv_settings, file_secret_settings
        files = [Path(name) for name in (os.environ.get("GANZHI_CONFIG"),) if name]
        profile = init_settings().get("profile") or os.environ.get("GANZHI_PROFILE") or "default"
        files.append(run_file(str(profile)))
        return init_settings, env_settings, *(TomlConfigSettingsSource(settings_cls, toml_file=file) for file in files)


def load(**flags: Any) -> Settings:
    """Reads the settings; flags that are None are left out.

    Raises:
        ConfigurationError: a file is missing or a value is wrong; the message names the setting and never a secret.
    """
    named = os.environ.get("GANZHI_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigurationError(f"GANZHI_CONFIG names {named}, which is not a file")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"a settings file is not TOML: {error}") from error
    except ValueError as error:
        details = getattr(error, "errors", None)
        lines = (
            [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in details(include_input=False)]
            if details
            else [str(error)]
        )
        raise ConfigurationError("settings: " + "; ".join(lines)) from None


def data_home(profile: str) -> Path:
    """Folder of a profile's data: logs, tables, passwords, run file."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "ganzhi" / profile


def cache_home() -> Path:
    """Folder of what can be fetched or compiled again: jars, the Numba cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganzhi"


def run_file(profile: str) -> Path:
    """Where an embedded stack that is up says how to reach it (TOML, mode 0600)."""
    return data_home(profile) / "run.toml"
