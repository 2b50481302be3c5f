"""Real reverse proxies, run with the files that an operator copies from `deploy/proxy`, and a tap behind them."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
PROXIES = ROOT / "deploy" / "proxy"
NAME = "portal.example"
UPSTREAM = "127.0.0.1:1400"
"""The service's address in the files."""
DEAD = "127.0.0.1:1"
"""A service that is away, beside the one that is there, for those proxies that may have several."""


@dataclass
class Tap:
    """What stands between a proxy and the service: it counts requests, and may break off behind one."""

    port: int
    service_port: int
    requests: list[bytes] = field(default_factory=list)
    """The first line of each request."""
    breaks: bool = False

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead: asyncio.StreamWriter | None = None
        back: asyncio.Task[None] | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head.partition(b"\r\n")[0])
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
                if self.breaks:
                    break
                if ahead is None:
                    answers, ahead = await asyncio.open_connection("127.0.0.1", self.service_port)
                    back = asyncio.create_task(_pump(answers, writer))
                ahead.write(head + body)
                await ahead.drain()
        for each in (ahead, writer):
            if each is not None:
                each.close()
        if back is not None:
            await back

    def count(self, start: bytes) -> int:
        """How many requests began so."""
        return sum(line.startswith(start) for line in self.requests)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def tapped(service_port: int) -> AsyncIterator[Tap]:
    """A tap in front of the service."""
    tap = Tap(free_ports(), service_port)
    server = await asyncio.start_server(tap._talk, "127.0.0.1", tap.port, limit=1 << 20)
    try:
        yield tap
    finally:
        server.close()


@dataclass(frozen=True)
class Front:
    """A running proxy."""

    kind: str
    port: int
    plain_port: int
    pinned_port: int
    """Where it asks for a client certificate."""
    folder: Path
    trust: ssl.SSLContext

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def logged(self) -> bytes:
        """All that it wrote: its logs, and whatever else lies in its folder but what it keeps of answers."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and "cache" not in path.parts)
        return b"\n".join(path.read_bytes() for path in files)


@dataclass(frozen=True)
class Kind:
    """How a proxy is started, and what of its file is another's on a test's machine."""

    file: str
    command: Callable[[str, Path], list[str | Path]]
    replaced: Callable[["Places"], Mapping[str, str]]
    keeps: bool = True
    """Whether it has a cache."""


@dataclass(frozen=True)
class Places:
    """Where a test's proxy has what."""

    folder: Path
    port: int
    plain_port: int
    pinned_port: int
    upstream: int

    @property
    def live(self) -> str:
        """The service's address."""
        return f"127.0.0.1:{self.upstream}"

    @property
    def chain(self) -> Path:
        return self.folder / "tls" / "chain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "tls" / "key.pem"


def _nginx(at: Places) -> dict[str, str]:
    temporary = "".join(
        f"    {kind}_temp_path {at.folder}/cache-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return {
        "user www-data;\n": "user root;\n" if os.geteuid() == 0 else "",
        "worker_processes auto;": "worker_processes 2;",
        "pid /run/nginx.pid;": f"pid {at.folder}/nginx.pid;",
        "/var/log/nginx/": f"{at.folder}/logs/",
        "worker_rlimit_nofile 65536;\n": "",
        "worker_connections 30000;": "worker_connections 500;",
        "    include /etc/nginx/mime.types;\n": temporary,
        "/var/cache/nginx-portal1400": f"{at.folder}/cache",
        # Twice, so that there is somewhere else to try.
        f"        server {UPSTREAM} max_fails=0;\n": f"        server {at.live} max_fails=0;\n" * 2,
        "listen 80 default_server;": f"listen 127.0.0.1:{at.plain_port} default_server;",
        "        listen [::]:80 default_server;\n": "",
        "listen 443 ssl": f"listen 127.0.0.1:{at.port} ssl",
        "        listen [::]:443 ssl http2 default_server;\n": "",
        "listen 8443 ssl": f"listen 127.0.0.1:{at.pinned_port} ssl",
        "        listen [::]:8443 ssl http2;\n": "",
        "/etc/ssl/portal1400/fullchain.pem": str(at.chain),
        "/etc/ssl/portal1400/key.pem": str(at.key),
    }


def _haproxy(at: Places) -> dict[str, str]:
    return {
        "log /dev/log local0": "log stderr format raw local0",
        "    user haproxy\n    group haproxy\n": "",
        "maxconn 60000": "maxconn 500",
        "bind :80": f"bind 127.0.0.1:{at.plain_port}",
        "bind :443": f"bind 127.0.0.1:{at.port}",
        "bind :8443": f"bind 127.0.0.1:{at.pinned_port}",
        "/etc/haproxy/portal1400.pem": f"{at.folder}/tls/both.pem",
        f"server a {UPSTREAM}": f"server a {DEAD}\n    server b {at.live}\n    server c {at.live}",
    }


def _caddy(at: Places) -> dict[str, str]:
    return {
        "admin unix//run/caddy/admin.sock": f"admin off\n\thttp_port {at.plain_port}\n\thttps_port {at.port}\n"
        "\tdefault_bind 127.0.0.1",
        f"\n{{$PORTAL1400_NAME:{NAME}}} {{": f"\n{NAME} {{\n\ttls {at.chain} {at.key}",
        f"\n{{$PORTAL1400_NAME:{NAME}}}:8443 {{\n\ttls": f"\n{NAME}:{at.pinned_port} {{\n\ttls {at.chain} {at.key}",
    }


KINDS = {
    "nginx": Kind("nginx.conf", lambda program, file: [program, "-c", file, "-g", "daemon off;"], _nginx),
    "haproxy": Kind("haproxy.cfg", lambda program, file: [program, "-db", "-f", file], _haproxy),
    "caddy": Kind(
        "Caddyfile",
        lambda program, file: [program, "run", "--adapter", "caddyfile", "--config", file],
        _caddy,
        keeps=False,
    ),
}


def program(kind: str) -> str | None:
    """Where it is installed; Caddy may come with `make deploy-check`."""
    return shutil.which(kind, path=f"{os.environ.get('PATH', '')}:/usr/sbin:{ROOT / '.venv-deploy' / 'bin'}")


def rendered(kind: str, at: Places) -> str:
    """The file as an operator copies it, with a test's ports and folders."""
    text = (PROXIES / KINDS[kind].file).read_text(encoding="utf-8")
    for ours, theirs in KINDS[kind].replaced(at).items():
        assert ours in text, f"{KINDS[kind].file} does not have {ours!r}"
        text = text.replace(ours, theirs)
    return text


@asynccontextmanager
async def front(kind: str, upstream: int) -> AsyncIterator[Front]:
    """A real proxy in front of `upstream`, ready to be asked over TLS."""
    found = program(kind)
    assert found is not None
    with tempfile.TemporaryDirectory(prefix="p1400-front-") as name:
        port = free_ports(3)
        at = Places(Path(name), port, port + 1, port + 2, upstream)
        for folder in ("tls", "logs", "cache", "home"):
            (at.folder / folder).mkdir()
        trust = _certify(at)
        file = at.folder / KINDS[kind].file
        file.write_text(rendered(kind, at), encoding="utf-8")
        with (at.folder / "logs" / "stderr").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 -- it starts in no time, and the test waits for it
                [str(word) for word in KINDS[kind].command(found, file)],
                stdout=log,
                stderr=log,
                cwd=at.folder,
                env=os.environ
                | {"HOME": str(at.folder / "home"), "XDG_DATA_HOME": str(at.folder / "home")}
                | {"PORTAL1400_UPSTREAMS": f"{DEAD} {at.live} localhost:{upstream}"},
            )
        made = Front(kind, at.port, at.plain_port, at.pinned_port, at.folder, trust)
        try:
            await _listening(made, process)
            yield made
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _listening(made: Front, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(20):
        for port in (made.port, made.plain_port, made.pinned_port):
            while True:
                assert process.poll() is None, made.logged().decode(errors="replace")[-3000:]
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)


def _certify(at: Places) -> ssl.SSLContext:
    chain, secret = self_signed(NAME)
    at.chain.write_bytes(chain)
    at.key.write_bytes(secret)
    (at.folder / "tls" / "both.pem").write_bytes(chain + secret)
    return ssl.create_default_context(cadata=chain.decode())


def self_signed(common_name: str) -> tuple[bytes, bytes]:
    """A certificate that nobody but its owner vouches for, and its key: PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, secret


def pin_of(certificate: bytes) -> str:
    """What an account pins of a certificate."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    return hashlib.sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()
