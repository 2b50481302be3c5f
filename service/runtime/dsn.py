"""What a DSN names: the servers, and whether one that takes writes is asked for."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from asyncpg.connect_utils import SessionAttribute

WRITABLE = SessionAttribute.read_write
DEFAULT_PORT = 5432
UNDERSTOOD = frozenset({
    "host", "port", "dbname", "database", "user", "password", "passfile", "service",
    "sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib",
})  # fmt: skip
"""Parameters that asyncpg takes for itself. Any other goes to the server, as a setting of the session."""
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
FOREIGN = {
    "connect_timeout": "connections are given 5 s",
    "keepalives": "always on",
    "keepalives_idle": "always 10 s",
    "keepalives_interval": "always 10 s",
    "keepalives_count": "always 3",
    "tcp_user_timeout": "keep-alives find a dead connection",
    "channel_binding": "this client has none; sslmode=verify-full with sslrootcert tells the right server",
    "gssencmode": "this client encrypts by TLS only",
    "gssdelegation": "this client delegates nothing",
    "require_auth": "the server's pg_hba.conf decides",
    "requirepeer": "the folder of the socket decides",
    "hostaddr": "name the address as the host",
    "load_balance_hosts": "the server that takes writes is used",
    "min_protocol_version": "there is one",
    "max_protocol_version": "there is one",
    "sslsni": "always on",
    "sslcompression": "always off",
    "sslcertmode": "a certificate is sent where sslcert names one",
    "sslcrldir": "name a file by sslcrl",
    "ssl": "it is called sslmode",
    "sslaccept": "it is called sslmode",
    "fallback_application_name": "it is portal1400",
    "client_encoding": "always UTF8",
    "schema": "a schema is named by search_path",
    "currentSchema": "a schema is named by search_path",
    "pgbouncer": "connect to the server itself",
    "prepareThreshold": "connect to the server itself",
    "connection_limit": "PORTAL1400_WRITERS and the number of workers decide",
    "pool_timeout": "it keeps connections of its own",
    "pool_max_conns": "it keeps connections of its own",
}
"""Parameters of libpq and of other clients that the server would refuse, each with why it is not needed."""


class Server(NamedTuple):
    """Where one server listens: a name, an address, or the folder of a unix socket."""

    host: str
    port: int


def servers_of(dsn: str) -> tuple[Server, ...]:
    """The servers a DSN names, in its order; none where it leaves that to the environment or a service file.

    Raises ValueError for a port that is none, and for as many ports as there are not hosts.
    """
    parts = parts_of(dsn)
    query = parse_qs(parts.query)
    named = parts.netloc.rpartition("@")[2]
    hosts = [_split(each) for each in named.split(",") if each]
    if hosts:
        hosts = [(unquote(host), port) for host, port in hosts]
    else:
        hosts = [_split(each) for each in query.get("host", [""])[-1].split(",") if each]
    ports = [each for each in query.get("port", [""])[-1].split(",") if each]
    if len(ports) not in (0, 1, len(hosts)):
        raise ValueError("want as many ports as hosts, separated by commas, or one port for all")
    if ports:
        hosts = [(host, ports[at % len(ports)]) for at, (host, _) in enumerate(hosts)]
    return tuple(Server(host, _port(port)) for host, port in hosts)


def require_writer_attributes(dsn: str) -> None:
    """Refuse a DSN that asks for a server we could not write to. Raises ValueError."""
    wanted = parse_qs(parts_of(dsn).query).get("target_session_attrs", [WRITABLE.value])[-1]
    if wanted not in (WRITABLE.value, SessionAttribute.primary.value):
        raise ValueError(f"leave target_session_attrs out, or set it to {WRITABLE.value}: the service writes")


def require_known_parameters(dsn: str) -> None:
    """Refuse parameters that are another client's; the sentence names each of them. Raises ValueError."""
    try:
        given = parse_qs(parts_of(dsn).query, strict_parsing=True, keep_blank_values=True)
    except ValueError:
        raise ValueError("want its parameters as NAME=VALUE, separated by &") from None
    if foreign := [f"{name} ({FOREIGN[name]})" for name in given if name in FOREIGN]:
        raise ValueError(f"leave out what this client does not take: {', '.join(foreign)}")


def missing_files(dsn: str) -> list[str]:
    """The files that a DSN names and that are not there, each as NAME=PATH."""
    query = parse_qs(parts_of(dsn).query)
    named = [(name, query[name][-1]) for name in FILES if name in query]
    return [f"{name}={path}" for name, path in named if not Path(path).expanduser().exists()]


def session_settings_of(dsn: str) -> list[str]:
    """The names of parameters that go to the server as settings of the session."""
    return [name for name in parse_qs(parts_of(dsn).query) if name not in UNDERSTOOD]


def parts_of(dsn: str) -> SplitResult:
    """A DSN taken apart. Raises ValueError with a sentence that quotes nothing."""
    try:
        return urlsplit(dsn)
    except ValueError:
        # Its own sentence may quote the password. Newer releases of Python, and asyncpg with them, take no address in
        # brackets behind another server (CVE-2025-0938).
        raise ValueError(
            "want postgresql://USER@HOST/DATABASE with a host that is a name or an address; several servers, with "
            "IPv6 addresses among them, as postgresql://USER@/DATABASE?host=10.0.0.1,[::1]&port=5432,5432"
        ) from None


def _split(host: str) -> tuple[str, str]:
    """A host and its port, empty where none is named. A socket's folder has none, nor has a bare IPv6 address."""
    if host.startswith("/"):
        return host, ""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address, port.removeprefix(":")
    address, _, port = host.partition(":")
    return address, port


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 65535:
        raise ValueError("want HOST:PORT with a port from 1 to 65535, several of them separated by commas")
    return int(text)
