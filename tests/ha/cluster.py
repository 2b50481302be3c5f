"""Three database nodes on one machine: etcd, Patroni and PostgreSQL of each, from the files in deploy/patroni/."""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import yaml

from tests.ha.nodes import NODES, ROOT, HaFailed, Node, end_with_parent, node_user, programs, version_of
from tests.support import postgres
from tests.support.ports import free_ports

TEMPLATES = ROOT / "deploy" / "patroni"
DATABASE = "portal1400"
ACCOUNTS = ("postgres", "replicator", "rewinder", "rest", "app", "etcd", "etcd-root", "repository")


@dataclass
class Cluster:
    """The nodes together. `tuned` changes settings of the cluster (ttl and such) from the template's."""

    folder: Path
    tuned: dict[str, int]
    server: str = "wheel"
    nodes: dict[str, Node] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._programs = programs(self.server)
        for name, address in NODES.items():
            first = free_ports(4)
            self.nodes[name] = Node(name, address, self.folder / name, *range(first, first + 4))
        self.passwords = {name: secrets.token_hex(24) for name in ACCOUNTS}

    @property
    def versions(self) -> str:
        """What runs here, for the report."""
        return (
            f"PostgreSQL {version_of(self._programs['postgres'], '--version')}, "
            f"Patroni {version_of(self._programs['python'], '-m', 'patroni', '--version')}, "
            f"etcd {version_of(self._programs['etcd'], '--version')}"
        )

    @property
    def server_program(self) -> Path:
        """PostgreSQL, as the nodes run it."""
        return self._programs["postgres"]

    def dsn(self, user: str, password: str, database: str = DATABASE) -> str:
        """All three servers, in a fixed order, whoever leads."""
        hosts = ",".join(f"{node.address}:{node.postgres_port}" for node in self.nodes.values())
        return f"postgresql://{user}:{password}@{hosts}/{database}"

    async def connect(self, database: str = DATABASE) -> asyncpg.Connection:
        """As superuser, to the server that takes writes."""
        return await asyncpg.connect(
            self.dsn("postgres", self.passwords["postgres"], database) + "?target_session_attrs=read-write",
            timeout=30,
        )

    def prepare(self) -> None:
        """Write every node's files."""
        self.folder.chmod(0o755)
        for node in self.nodes.values():
            self.lay(node)

    def lay(self, node: Node, cluster_state: str = "new") -> None:
        """Write a node's files; its etcd belongs to a cluster that is `new` or `existing`."""
        node.folder.mkdir(exist_ok=True)
        etcd = self._etcd(node) | {"initial-cluster-state": cluster_state}
        files = {
            "etcd.yml": yaml.safe_dump(etcd, sort_keys=False),
            "patroni.yml": yaml.safe_dump(self._patroni(node), sort_keys=False),
            "pgbackrest.conf": self.archive_settings(node.data, node.postgres_port, node.folder),
            "pgpass": f"*:*:*:postgres:{self.passwords['postgres']}\n",
        }
        for name, text in files.items():
            self.write(node.folder / name, text)
        self.give(node.folder)

    def write(self, file: Path, text: str) -> None:
        """A file of the nodes' account, which nobody else can read."""
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        self.give(file)

    def give(self, path: Path) -> None:
        """Let the nodes' account own it."""
        if os.geteuid() == 0:
            shutil.chown(path, postgres._server_user())

    def archive_settings(self, data: Path, port: int, socket_folder: Path) -> str:
        """The template of pgBackRest with this machine's places."""
        text = (TEMPLATES / "pgbackrest.conf").read_text(encoding="utf-8")
        for ours, theirs in {
            "/mnt/portal1400-repository": str(self.folder / "repository"),
            "change-me-repository": self.passwords["repository"],
            "/var/lock/pgbackrest": str(socket_folder / "lock"),
            "/var/lib/postgresql/18/portal1400": str(data),
            "pg1-port=5432": f"pg1-port={port}",
            "/var/run/postgresql": str(socket_folder),
        }.items():
            assert ours in text, ours
            text = text.replace(ours, theirs)
        return text

    def lay_anew(self, node: Node) -> None:
        """Another machine in the place of a lost one: nothing is there but the files of a setup."""
        shutil.rmtree(node.folder)
        self.lay(node, "existing")

    def validate(self) -> None:
        """Let Patroni look at its files, the templates with this machine's places. Raises HaFailed for a fault."""
        for node in self.nodes.values():
            checked = subprocess.run(
                [self._programs["python"], "-m", "patroni", "--validate-config", node.folder / "patroni.yml"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                **node_user(),
            )
            if checked.returncode != 0 or checked.stdout.strip():
                raise HaFailed(f"Patroni refuses its file:\n{checked.stdout}{checked.stderr}")

    def start_etcd(self, node: Node) -> None:
        """Start the node's etcd."""
        node.etcd = self._spawn([self._programs["etcd"], "--config-file", node.folder / "etcd.yml"], node, "etcd.log")

    def start_patroni(self, node: Node) -> None:
        """Start the node's Patroni, which starts its PostgreSQL."""
        command = [self._programs["python"], "-m", "patroni", node.folder / "patroni.yml"]
        node.patroni = self._spawn(command, node, "patroni.log")

    def as_node(self, folder: Path) -> dict[str, Any]:
        """Options of a process on a node, with the settings of pgBackRest that lie in `folder`."""
        options = node_user()
        options["env"] |= {"PGBACKREST_CONFIG": str(folder / "pgbackrest.conf"), "PGPASSFILE": str(folder / "pgpass")}
        return options

    def _spawn(self, command: list[Any], node: Node, log: str) -> subprocess.Popen[bytes]:
        with (node.folder / log).open("ab") as output:
            return subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,
                **self.as_node(node.folder),
            )

    async def start(self) -> None:
        """Everything, until there are a leader, a synchronous standby and another one."""
        self.prepare()
        for node in self.nodes.values():
            self.start_etcd(node)
        for node in self.nodes.values():
            await self._healthy(node)
        self.close_etcd()
        self.validate()
        for node in self.nodes.values():
            self.start_patroni(node)
        await self.whole(120)

    def etcdctl(self, *arguments: str, given: str = "", login: bool = True) -> str:
        """One command to etcd of all living nodes, as its root; what it said. Raises HaFailed."""
        alive = [node for node in self.nodes.values() if node.etcd is not None and node.etcd.poll() is None]
        options = node_user()
        del options["stdin"]
        options["env"] |= {"ETCDCTL_ENDPOINTS": ",".join(f"{node.address}:{node.etcd_port}" for node in alive)}
        if login:
            options["env"] |= {"ETCDCTL_USER": f"root:{self.passwords['etcd-root']}"}
        return said([self._programs["etcd"].with_name("etcdctl"), *arguments], input=given, **options)

    def close_etcd(self) -> None:
        """Let nobody write into etcd without a password: the commands of the documentation."""
        for name, password in (("root", "etcd-root"), ("patroni", "etcd")):
            self.etcdctl("user", "add", name, "--interactive=false", given=self.passwords[password], login=False)
        for command in (
            ("user", "grant-role", "root", "root"),
            ("role", "add", "patroni"),
            ("role", "grant-permission", "patroni", "--prefix=true", "readwrite", "/service/portal1400/"),
            ("user", "grant-role", "patroni", "patroni"),
            ("auth", "enable"),
        ):
            self.etcdctl(*command, login=False)

    def end_etcd(self, node: Node) -> None:
        """etcd of a machine dies, and its disk with it."""
        assert node.etcd is not None
        node.etcd.kill()
        node.etcd.wait(10)
        shutil.rmtree(node.folder / "etcd")

    async def replace_etcd(self, node: Node) -> None:
        """A new member in the place of one that is lost."""
        listed = (line.split(", ") for line in self.etcdctl("member", "list").splitlines())
        (lost,) = (member for member, _, name, *_ in listed if name == node.name)
        self.etcdctl("member", "remove", lost)
        self.etcdctl("member", "add", node.name, f"--peer-urls=http://{node.address}:{node.peer_port}")
        self.lay(node, "existing")
        self.start_etcd(node)
        await self._healthy(node)

    def patronictl(self, node: Node, *arguments: str) -> str:
        """One command to Patroni, from a node; what it said. Raises HaFailed."""
        command = [self._programs["python"].with_name("patronictl"), "-c", node.folder / "patroni.yml", *arguments]
        return said(command, **node_user())

    async def answers(self, node: Node) -> None:
        """Wait until a node's Patroni answers."""
        deadline = time.monotonic() + 30
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"http://{node.address}:{node.rest_port}/liveness"):
                        return
                await asyncio.sleep(0.2)
        raise HaFailed(f"Patroni of {node.name} does not answer: see {node.log}")

    async def _healthy(self, node: Node) -> None:
        deadline = time.monotonic() + 30
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"http://{node.address}:{node.etcd_port}/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.2)
        raise HaFailed(f"etcd of {node.name} did not get well within 30 s: see {node.folder}/etcd.log")

    async def members(self) -> dict[str, tuple[str, str]]:
        """Role and state of every node, as the first living Patroni tells; empty when none does."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            for node in self.nodes.values():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError):
                    async with http.get(f"http://{node.address}:{node.rest_port}/cluster") as answer:
                        told = (await answer.json())["members"]
                        return {each["name"]: (each["role"], each["state"]) for each in told}
        return {}

    async def whole(self, seconds: float) -> tuple[str, str]:
        """Wait until one leads, one is its synchronous standby, and all stream; the names of those two."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            members = await self.members()
            roles = {role: name for name, (role, _) in members.items()}
            streaming = sum(state == "streaming" for role, state in members.values() if role != "leader")
            if {"leader", "sync_standby"} <= roles.keys() and streaming == len(self.nodes) - 1:
                return roles["leader"], roles["sync_standby"]
            await asyncio.sleep(0.2)
        raise HaFailed(f"the cluster is not whole after {seconds:g} s: {await self.members()}; see {self.folder}")

    async def new_leader(self, former: str, seconds: float) -> None:
        """Wait until another node than `former` leads and takes writes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, (role, state) in (await self.members()).items():
                if role == "leader" and name != former and state == "running":
                    return
            await asyncio.sleep(0.1)
        raise HaFailed(f"nobody took over within {seconds:g} s: {await self.members()}; see {self.folder}")

    async def switch_over(self, leader: str, candidate: str) -> None:
        """Ask Patroni for a planned change."""
        node = self.nodes[leader]
        login = {"authorization": aiohttp.encode_basic_auth("patroni", self.passwords["rest"])}
        wanted = {"leader": leader, "candidate": candidate}
        async with (
            aiohttp.ClientSession(headers=login) as http,
            http.post(f"http://{node.address}:{node.rest_port}/switchover", json=wanted) as answer,
        ):
            if answer.status != 200:
                raise HaFailed(f"Patroni refuses the switchover: {await answer.text()}")

    def bring_back(self, node: Node) -> None:
        """A machine that was struck comes up again, if it is not up."""
        if node.is_frozen():
            node.kill()
        if node.patroni is None or node.patroni.poll() is not None:
            self.start_patroni(node)

    async def make_database(self) -> str:
        """The service's account and database; returns the service's DSN."""
        admin = await self.connect("postgres")
        try:
            await admin.execute(f"CREATE ROLE {DATABASE} LOGIN PASSWORD '{self.passwords['app']}'")
            await admin.execute(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}")
        finally:
            await admin.close()
        return self.dsn(DATABASE, self.passwords["app"])

    def stop(self) -> None:
        """End every process that was started here, whatever state it is in."""
        for node in self.nodes.values():
            for process in filter(None, (node.patroni, node.etcd)):
                process.kill()
            node.signal_postgres(signal.SIGKILL)
        for node in self.nodes.values():
            for process in filter(None, (node.patroni, node.etcd)):
                process.wait(10)

    def _etcd(self, node: Node) -> dict[str, Any]:
        settings: dict[str, Any] = yaml.safe_load((TEMPLATES / "etcd.yml").read_text(encoding="utf-8"))
        nodes = self.nodes.values()
        peer, client = (f"http://{node.address}:{port}" for port in (node.peer_port, node.etcd_port))
        return settings | {
            "name": node.name,
            "data-dir": str(node.folder / "etcd"),
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "initial-cluster": ",".join(f"{each.name}=http://{each.address}:{each.peer_port}" for each in nodes),
            "log-level": "warn",
        }

    def _patroni(self, node: Node) -> dict[str, Any]:
        """The template with this machine's places and passwords in it; its settings stay what an operator gets."""
        settings: dict[str, Any] = yaml.safe_load((TEMPLATES / "patroni.yml").read_text(encoding="utf-8"))
        settings["name"] = node.name
        rest = f"{node.address}:{node.rest_port}"
        settings["restapi"] |= {"listen": rest, "connect_address": rest}
        settings["restapi"]["authentication"]["password"] = self.passwords["rest"]
        settings["etcd3"]["password"] = self.passwords["etcd"]
        settings["etcd3"]["hosts"] = ",".join(f"{each.address}:{each.etcd_port}" for each in self.nodes.values())
        dcs = settings["bootstrap"]["dcs"]
        dcs |= self.tuned
        # Only here: the report reads from the database when each gift was committed.
        dcs["postgresql"]["parameters"]["track_commit_timestamp"] = "on"
        server = settings["postgresql"]
        here = f"{node.address}:{node.postgres_port}"
        server |= {
            "listen": here,
            "connect_address": here,
            "bin_dir": str(self._programs["postgres"].parent),
            "data_dir": str(node.data),
            "pgpass": str(node.folder / "pgpass-patroni"),
            "pg_hba": [re.sub(r"10\.0\.0\.0/24", "127.0.0.0/24", line) for line in server["pg_hba"]],
        }
        server["parameters"]["unix_socket_directories"] = str(node.folder)
        for role in server["authentication"].values():
            role["password"] = self.passwords[role["username"]]
        settings["watchdog"]["mode"] = "off"
        return settings


def said(command: list[Any], **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, **options
    )
    if done.returncode != 0:
        raise HaFailed(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout
