"""Settings: the only reader of the environment. Every variable, its unit and its default stand here."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from service.runtime.addresses import Network, network
from service.runtime.dsn import require_known_parameters, require_writer_attributes, servers_of
from service.runtime.environment import FILE_VARIABLE, EnvironmentFileRefused, with_environment_file
from service.runtime.refusals import Refused
from service.runtime.secret_key import carried_root

PREFIX = "PORTAL1400_"


class SettingsRefused(Refused):
    """The environment cannot be used; one sentence per problem: what, where, what to do. Never a value."""


class HostPort(BaseModel):
    """An address to listen on."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]

    @classmethod
    def parse(cls, value: str) -> "HostPort":
        """`127.0.0.1:1400`, `[::1]:1400` or `:1400` (every interface)."""
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError("want HOST:PORT, for example 127.0.0.1:1400")
        return cls(host=host.strip("[]") or "0.0.0.0", port=int(port))  # noqa: S104 -- `:1400` asks for every interface

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Settings(BaseModel):
    """How one process runs. Frozen; handed down as an argument."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment_file: Path | None = Field(
        None, description="file of variables that count before the process's own, read again at SIGHUP"
    )
    database_url: SecretStr | None = Field(None, description="PostgreSQL 15 to 18; absent: embedded under DATA_DIR")
    data_dir: Path = Field(Path(".portal1400"), description="embedded database and local files")
    listen: HostPort = Field(HostPort(host="127.0.0.1", port=1400), description="public listener, HOST:PORT")
    internal_listen: HostPort = Field(
        HostPort(host="127.0.0.1", port=9400), description="metrics and health; worker i takes port + i"
    )
    secret_key: SecretStr | None = Field(None, description="any string of at least 32 characters")
    secret_key_previous: SecretStr | None = Field(
        None, description="the former secret key, while `portal1400 secret-key rotate` puts another in its place"
    )
    public_url: str | None = Field(None, description="how the outside reaches us, for links")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="networks whose X-Forwarded-For is believed, separated by commas"
    )
    client_certificate_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,60}$",
        description="the header in which trusted proxies hand on a client's certificate; absent: none is believed",
    )
    oidc_issuer: str | None = Field(
        None,
        description="the OpenID provider by which people of the desk may log in, as its tokens name it",
    )
    oidc_client_id: str | None = Field(None, min_length=1, max_length=300, description="what that provider calls us")
    oidc_client_secret: SecretStr | None = Field(
        None, validate_default=True, description="what proves to that provider that it is us"
    )
    oidc_second_factor: str | None = Field(
        None,
        pattern=r"^(amr|acr):[\x21-\x7e]{1,300}$",
        description="what the provider must say so that our second factor is not asked for: amr:VALUE or acr:VALUE",
    )
    log_format: Literal["console", "json"] = Field("console", description="console or json")
    log_callbacks_one_in: int = Field(
        1, ge=1, le=1_000_000, description="of accepted and repeated callbacks one in so many has a line in the log"
    )
    traces_endpoint: str | None = Field(
        None,
        description="where traces go (OpenTelemetry, OTLP over HTTP), http://HOST:4318; absent: none",
    )
    traces_share: float = Field(0.01, ge=0, le=1, description="of the usual callbacks so many are traced")
    postgres: str = Field("auto", description="embedded server: auto, wheel, system, or a folder of binaries")
    migrate_on_start: bool = Field(True, description="serve applies pending migrations first")
    queue_events_max: int = Field(20_000, ge=100, le=1_000_000, description="events that may wait for the writer")
    queue_wait_seconds: float = Field(
        1.0, gt=0, le=30, description="longest wait for a commit before a callback goes into the spool"
    )
    spool_bytes_max: int = Field(
        1_073_741_824,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="what a worker's spool may hold, bytes",
    )
    spool_age_max_hours: float = Field(
        168, gt=0, le=8760, description="with a record older than this the spool takes no more"
    )
    account_callbacks_max: int = Field(2_000, ge=1, le=100_000, description="callbacks of one account at once")
    account_events_max: int = Field(
        5_000, ge=100, le=1_000_000, description="events of one account at once, in however few callbacks"
    )
    batch_events_max: int = Field(1_000, ge=1, le=10_000, description="events in one commit")
    writers: int = Field(2, ge=1, le=8, description="writer connections per worker")
    head_read_seconds: float = Field(10.0, gt=0, le=60, description="longest time a head may take to arrive")
    body_read_seconds: float = Field(5.0, gt=0, le=60, description="longest time a body may take to arrive")
    statement_seconds: float = Field(10.0, gt=0, le=300, description="longest time a statement may take")
    shed_under_load: bool = Field(True, description="the public side is refused in steps when a worker is behind")
    idle_connection_seconds: float = Field(
        75.0, gt=0, le=3600, description="a connection without a request is closed after this"
    )
    connections_max: int = Field(
        16_000, ge=25, le=1_000_000, description="open public connections per worker, streams included"
    )
    stream_viewers_max: int = Field(10_000, ge=1, le=1_000_000, description="open event streams per worker")
    stream_write_seconds: float = Field(
        10.0, gt=0, le=120, description="a viewer that reads nothing that long is dropped"
    )
    raw_retention_days: int = Field(90, ge=14, le=3650, description="days raw callbacks are kept")
    person_retention_days: int = Field(
        400, ge=90, le=3650, description="days numbers, texts and the keys of what is sealed are kept"
    )
    quarantine_per_account_max: int = Field(
        10_000, ge=1, le=10_000_000, description="callbacks kept in quarantine per account, outcome and day"
    )
    invariant_seconds: float = Field(60.0, ge=1, le=86_400, description="from one round of the checks to the next")
    drain_seconds: float = Field(
        5.0, ge=0, le=60, description="how long a clean stop waits for the next request on an open connection"
    )
    shutdown_seconds: float = Field(15.0, gt=0, le=300, description="longest time a clean stop may take")

    @field_validator("listen", "internal_listen", mode="before")
    @classmethod
    def _parse_address(cls, value: Any) -> Any:
        return HostPort.parse(value) if isinstance(value, str) else value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _require_folder_name(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("empty: name a folder, or . for the one where the command is started")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("a control character, as Windows line ends leave it: correct it")
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _parse_networks(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(network(part) for part in value.split(",") if part.strip())
        return value

    @field_validator("database_url")
    @classmethod
    def _require_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("want postgresql://USER@HOST/DATABASE")
        if value is not None:
            servers_of(value.get_secret_value())
            require_writer_attributes(value.get_secret_value())
            require_known_parameters(value.get_secret_value())
        return value

    @field_validator("public_url", "traces_endpoint")
    @classmethod
    def _require_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("want http://HOST or https://HOST")
        return value.rstrip("/") if value else None

    @field_validator("oidc_issuer")
    @classmethod
    def _require_issuer(cls, value: str | None) -> str | None:
        if value is not None and not _is_issuer(value):
            raise ValueError(
                "want https://HOST, as the provider's discovery document has it; http only for 127.0.0.1"
            )
        return value

    @field_validator("oidc_client_secret")
    @classmethod
    def _require_whole_client(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        names = ("oidc_issuer", "oidc_client_id")
        if not {*names, "public_url"} <= info.data.keys():
            return value  # One of them is told of already.
        secret = value.get_secret_value() if value is not None else None
        given = [*(info.data[name] for name in names), secret]
        if value is not None or any(given):
            if not all(given):
                raise ValueError("OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET go together: set all or none")
            if info.data["public_url"] is None:
                raise ValueError("the provider sends people back to PUBLIC_URL: set that too")
        return value

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def _require_long_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("too short: want at least 32 characters, for example from `openssl rand -hex 32`")
        if value is not None:
            carried_root(value.get_secret_value())
        return value

    def require_secret_key(self) -> str:
        """The secret key, for whatever opens the database. Raises SettingsRefused when it is not set."""
        if self.secret_key is None:
            raise SettingsRefused(
                [f"{PREFIX}SECRET_KEY is not set: set it to at least 32 characters, the same at every start"]
            )
        return self.secret_key.get_secret_value()


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from variables that begin with PORTAL1400_, and from the file that one of them names.

    Raises SettingsRefused with every problem at once.
    """
    try:
        environ = with_environment_file(os.environ if environ is None else environ)
    except EnvironmentFileRefused as refused:
        raise SettingsRefused([f"{FILE_VARIABLE}: {refused}"]) from None
    given = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    known = {name.upper(): name for name in Settings.model_fields}
    problems = [
        f"{PREFIX}{name} is not a setting: remove it or correct its name (deploy/env.example lists all; Kubernetes "
        "makes such variables for a Service named portal1400: set enableServiceLinks: false)"
        for name in sorted(given)
        if name not in known
    ]
    for name in [name for name, value in given.items() if name in known and not _is_text(value)]:
        problems.append(f"{PREFIX}{name}: is not text in UTF-8; correct how it is written")
        del given[name]
    try:
        settings = Settings.model_validate({known[name]: value for name, value in given.items() if name in known})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            name = PREFIX + str(fault["loc"][0]).upper() if fault["loc"] else PREFIX
            problems.append(f"{name}: {fault['msg'].removeprefix('Value error, ')}")
    if problems:
        raise SettingsRefused(problems)
    return settings


def _is_issuer(value: str) -> bool:
    """Whether it can be an issuer (OpenID Connect Discovery 1.0, section 3). Without TLS only this machine's own."""
    if not value.isascii() or not value.isprintable() or any(each in value for each in " ?#@"):
        return False
    try:
        parts = urlsplit(value)
        if parts.scheme == "https" or parts.hostname == "localhost":
            return bool(parts.hostname) and parts.scheme in ("http", "https")
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _is_text(value: str) -> bool:
    """Whether it came as UTF-8: other bytes of the environment arrive as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
