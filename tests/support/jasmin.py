"""A real Jasmin with the broker and the store that it lives on, each on ports of its own and in one folder."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
JASMIND = ROOT / ".venv-jasmin" / "bin" / "jasmind.py"
"""`make jasmin` puts it there."""
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server itself: what stands in the search path asks for root and starts it as another account."""
REDIS = shutil.which("redis-server")
EPMD = shutil.which("epmd")
IS_HERE = bool(JASMIND.exists() and RABBITMQ.exists() and REDIS and EPMD)
START_SECONDS = 90

CONFIGURATION = """
[amqp-broker]
port = {amqp}
spec = {spec}
log_file = stdout
connection_failure_retry_delay = 1
[redis-client]
port = {redis}
log_file = stdout
[router]
bind = 127.0.0.1
port = {router}
log_file = stdout
[client-management]
bind = 127.0.0.1
port = {clients}
log_file = stdout
[http-api]
bind = 127.0.0.1
port = {api}
log_file = stdout
access_log = {folder}/access.log
# The console wants it to be there.
[smpp-server]
bind = 127.0.0.1
port = {smpp}
log_file = stdout
[smpp-server-pb]
bind = 127.0.0.1
port = {smpp_pb}
log_file = stdout
[jcli]
port = {console}
authentication = False
log_file = stdout
[sm-listener]
log_file = stdout
# A receipt may overtake the answer to its SMS within Jasmin, which then looks for it again after so long.
[dlr]
dlr_lookup_retry_delay = 1
log_file = stdout
[dlr-thrower]
log_file = stdout
http_timeout = 30
retry_delay = 1
max_retries = 120
[service-smppclient]
log_file = stdout
"""


class Jasmin:
    """One that runs. `api` is the port of its HTTP API."""

    def __init__(self, api: int, console: int) -> None:
        self.api, self._console = api, console

    async def configure(self, *entries: str) -> None:
        """Type `entries` at its console, a line each; each entry ends as the console says that it did."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._console)
        try:
            # It greets without a prompt.
            async with asyncio.timeout(20):
                await reader.readuntil(b"Session ref: ")
                await reader.readuntil(b"\n")
            for entry in entries:
                lines = entry.strip().splitlines()
                for line in lines:
                    writer.write(line.encode() + b"\r\n")
                    said = await _until(reader, b"jcli : ", b"\n> ")
                assert b"Successfully" in said, f"{lines[0]}: {said.decode(errors='replace')}"
        finally:
            writer.close()


async def _until(reader: asyncio.StreamReader, *ends: bytes) -> bytes:
    said = b""
    async with asyncio.timeout(20):
        while not said.endswith(ends):
            chunk = await reader.read(4096)
            assert chunk, said
            said += chunk
    return said


@asynccontextmanager
async def jasmin(folder: Path, thrower: str) -> AsyncIterator[Jasmin]:
    """Broker, store and Jasmin, in this order. `thrower` is the section of jasmin.cfg about its deliveries."""
    names = ("amqp", "dist", "epmd", "redis", "router", "clients", "api", "console", "smpp", "smpp_pb")
    ports = dict(zip(names, (free_ports() for _ in names), strict=True))
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    async with contextlib.AsyncExitStack() as stack:
        broker = _broker_environment(folder, ports) | kept
        stack.push_async_callback(_stop_mapper, ports["epmd"])
        for command, environ, port in (
            ([str(RABBITMQ)], broker, "amqp"),
            ([str(REDIS), "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
             kept, "redis"),
            (_jasmind(folder, ports, thrower), _jasmin_environment(folder) | kept, "api"),
        ):  # fmt: skip
            process = await _started(folder, command, environ)
            stack.push_async_callback(_end, process)
            await _listening(ports[port], process, folder)
        await _listening(ports["console"], process, folder)
        yield Jasmin(ports["api"], ports["console"])


def _broker_environment(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    home = folder / "broker"
    home.mkdir()
    (home / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}\n")
    (home / "plugins").write_text("[].\n")
    return {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"p1400-{ports['amqp']}@localhost",
        "RABBITMQ_DIST_PORT": str(ports["dist"]),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        # One thread that sleeps while nothing is to do: the machine has others to serve.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }


def _jasmin_environment(folder: Path) -> dict[str, str]:
    for below in ("etc/jasmin/store", "var/log/jasmin"):
        (folder / below).mkdir(parents=True)
    return {
        "HOME": str(folder),
        "ROOT_PATH": str(folder),
        "CONFIG_PATH": f"{folder}/etc/jasmin",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


def _jasmind(folder: Path, ports: dict[str, int], thrower: str) -> Sequence[str]:
    (spec,) = (ROOT / ".venv-jasmin").glob("lib/python3.*/site-packages/txamqp/specs/standard/amqp0-9-1.stripped.xml")
    file = folder / "jasmin.cfg"
    file.write_text(CONFIGURATION.format(folder=folder, spec=spec, **ports) + thrower)
    return (
        str(JASMIND.with_name("python")), str(JASMIND), "-c", str(file),
        "--enable-deliver-thrower", "--enable-dlr-thrower", "--enable-dlr-lookup",
    )  # fmt: skip


async def _started(folder: Path, command: Sequence[str], environ: dict[str, str]) -> asyncio.subprocess.Process:
    with (folder / f"{Path(command[0]).name}.out").open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


async def _listening(port: int, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.2)
    raise AssertionError(_said(folder))


def _said(folder: Path) -> str:
    return "\n".join(each.read_text(errors="replace")[-2000:] for each in sorted(folder.glob("*.out")))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process and what it started: all of them are of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 20)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _stop_mapper(port: int) -> None:
    """Erlang's port mapper outlives its nodes."""
    process = await asyncio.create_subprocess_exec(
        str(EPMD), "-port", str(port), "-kill", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await process.wait()
