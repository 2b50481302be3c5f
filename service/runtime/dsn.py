"""What a DSN names: the servers, and whether one that takes writes is asked for."""

from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from asyncpg.connect_utils import SessionAttribute

WRITABLE = SessionAttribute.read_write
DEFAULT_PORT = 5432


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


def parts_of(dsn: str) -> SplitResult:
    """A DSN taken apart. Raises ValueError with a sentence that quotes nothing."""
    try:
        return urlsplit(dsn)
    except ValueError:
        # Its own sentence may quote the password.
        raise ValueError("want postgresql://USER@HOST/DATABASE with a host that is a name or an address") from None


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
