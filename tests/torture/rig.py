"""Everything one seed runs on: a database of its own, the fault proxy, the small disk, the service."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg

from campaigns.schema.migrate import migrate
from tests.support.postgres import TestServer, launch, make_data
from tests.torture.disk import SmallDisk
from tests.torture.portal import Portal, PortalFailed
from tests.torture.processes import children, family, is_alive, send
from tests.torture.proxy import FaultProxy

HERE = Path(__file__).parent
TEMPLATE = "torture_template"
START_SECONDS = 30.0


class Cluster:
    """The PostgreSQL of a campaign. One data folder; killed, frozen and started again as often as need be."""

    def __init__(self, folder: Path, choice: str = "auto") -> None:
        self._folder = folder
        self._choice = choice
        self._starting = asyncio.Lock()
        make_data(folder, choice)
        self._server: TestServer = launch(folder, choice)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / ".s.PGSQL.5432"

    def dsn(self, database: str) -> str:
        """The way past the proxy."""
        return self._server.dsn(database)

    def pids(self) -> list[int]:
        """The postmaster and every process of it."""
        return family(self._server.process.pid)

    def freeze(self) -> list[int]:
        """SIGSTOP of every process; returns them for `thaw`. The postmaster first: it starts no more."""
        postmaster = self._server.process.pid
        send([postmaster], signal.SIGSTOP)
        frozen = [postmaster, *children(postmaster)]
        send(frozen, signal.SIGSTOP)
        return frozen

    def thaw(self, frozen: list[int]) -> None:
        """They go on where they were."""
        send(reversed(frozen), signal.SIGCONT)

    def kill_postmaster(self) -> None:
        """SIGKILL of the postmaster alone; its children find out by themselves."""
        send([self._server.process.pid], signal.SIGKILL)

    async def start(self) -> None:
        """Start it again on the same data once no process of the last life is left."""
        async with self._starting:
            for _ in range(int(START_SECONDS / 0.2)):
                if self._server.process.poll() is None:
                    return
                try:
                    self._server = await asyncio.to_thread(launch, self._folder, self._choice)
                except RuntimeError:
                    # Backends of the one that was killed may still hold its memory.
                    await asyncio.sleep(0.2)
        raise PortalFailed(f"PostgreSQL does not start again within {START_SECONDS:g} s of being killed")

    async def killed(self, pids: list[int]) -> None:
        """Wait until these are gone."""
        for _ in range(500):
            self._server.process.poll()
            if not any(map(is_alive, pids)):
                return
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        """For good."""
        send(self.pids(), signal.SIGCONT)
        if self._server.process.poll() is None:
            self._server.stop()


def book_text() -> str:
    """The apply file, with the account that counts on reports."""
    return (
        (HERE / "book.toml").read_text(encoding="utf-8") + "\n" + (HERE / "reports.toml").read_text(encoding="utf-8")
    )


class Rig:
    """One seed's installation. Made by `rigged`."""

    def __init__(self, folder: Path, cluster: Cluster, database: str, proxy: FaultProxy, workers: int) -> None:
        self.folder = folder
        self.cluster = cluster
        self.database = database
        self.proxy = proxy
        self.disk = SmallDisk(folder)
        self.data_dir = self.disk.folder / "data"
        self.data_dir.mkdir()
        url = f"postgresql://app@127.0.0.1:{proxy.port}/{database}"
        self.portal = Portal(folder, self.data_dir, url, workers)
        self.serving = asyncio.Lock()
        """Held by whoever brings the service down and up: such faults do not mix."""
        self.frozen: list[int] = []

    @property
    def dsn(self) -> str:
        """The database itself, past the proxy."""
        return self.cluster.dsn(self.database)

    async def heal(self) -> None:
        """Everything is as it should be again, but for what a half-open connection still holds."""
        self.proxy.heal()
        if self.frozen:
            self.cluster.thaw(self.frozen)
            self.frozen = []
        self.disk.free()
        await self.cluster.start()
        self.portal.start()
        await self.portal.ready()


def prepared(place: Path) -> tuple[bool, Cluster]:
    """Whether disks can be played here, and a PostgreSQL in `place`."""
    # The server runs as another user than root and has to reach its folder.
    place.chmod(0o755)
    trial, folder = place / "trial", place / "postgres"
    for each in (trial, folder):
        each.mkdir()
    disk = SmallDisk(trial)
    with_disk = disk.is_real
    disk.close()
    return with_disk, Cluster(folder)


async def make_template(cluster: Cluster, folder: Path) -> None:
    """A migrated database with the book applied, to be cloned for each seed."""
    admin = await asyncpg.connect(cluster.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await admin.close()
    connection = await asyncpg.connect(cluster.dsn(TEMPLATE))
    await migrate(connection)
    await connection.close()
    file = folder / "book.toml"
    file.write_text(book_text(), encoding="utf-8")
    portal = Portal(folder, folder / "apply", "", 1)
    applied = await portal.run("apply", "--yes", str(file), database_url=cluster.dsn(TEMPLATE))
    if applied.code:
        raise PortalFailed(f"the torture's book is refused:\n{applied.err}")


@asynccontextmanager
async def rigged(folder: Path, cluster: Cluster, database: str, workers: int) -> AsyncIterator[Rig]:
    """A serving installation on a fresh database; nothing is left of it but `folder`."""
    admin = await asyncpg.connect(cluster.dsn("postgres"))
    await admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} STRATEGY wal_log")
    await admin.close()
    async with FaultProxy(cluster.socket) as proxy:
        rig = Rig(folder, cluster, database, proxy, workers)
        try:
            rig.portal.start()
            await rig.portal.ready()
            yield rig
        finally:
            rig.cluster.thaw(rig.frozen)
            await rig.portal.stop()
            with suppress(OSError):
                rig.disk.close()
            proxy.reset_all()
    await cluster.start()
    admin = await asyncpg.connect(cluster.dsn("postgres"))
    await admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    await admin.close()
