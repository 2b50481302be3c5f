"""What befalls a node, and what an operator does to one: by the very commands of docs/high-availability.md."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.ha.cluster import Cluster
from tests.ha.nodes import Node
from tests.ha.restore import restored

WHOLE_SECONDS = 120.0
WITHOUT_SECONDS = 5.0
"""How long something is left away before it is mended."""


@dataclass(frozen=True)
class Act:
    """What is done, in words; whether another node has to take over."""

    words: str
    play: Callable[[Cluster, str, str], Awaitable[str]]
    """Given the cluster, its leader and its synchronous standby; answers which node it was about."""
    takes_over: bool = False
    server: str = "wheel"
    """Whose PostgreSQL: pgBackRest of Debian knows only that of Debian, the `system`'s."""


async def _machine(cluster: Cluster, leader: str, _standby: str) -> str:
    cluster.nodes[leader].kill()
    return leader


async def _postgres(cluster: Cluster, leader: str, _standby: str) -> str:
    cluster.nodes[leader].signal_postgres(signal.SIGKILL)
    return leader


async def _patroni(cluster: Cluster, leader: str, _standby: str) -> str:
    cluster.nodes[leader].signal_patroni(signal.SIGKILL)
    return leader


async def _hang(cluster: Cluster, leader: str, _standby: str) -> str:
    cluster.nodes[leader].freeze()
    return leader


async def _standby(cluster: Cluster, _leader: str, standby: str) -> str:
    cluster.nodes[standby].kill()
    return standby


async def _switchover(cluster: Cluster, leader: str, standby: str) -> str:
    await cluster.switch_over(leader, standby)
    return leader


async def _etcd(cluster: Cluster, leader: str, _standby: str) -> str:
    node = cluster.nodes[leader]
    cluster.end_etcd(node)
    await asyncio.sleep(WITHOUT_SECONDS)
    await cluster.replace_etcd(node)
    return leader


async def _reinit(cluster: Cluster, leader: str, standby: str) -> str:
    node = _third(cluster, leader, standby)
    node.kill()
    (node.data / "global" / "pg_filenode.map").unlink()
    cluster.start_patroni(node)
    await cluster.answers(node)
    await asyncio.to_thread(cluster.patronictl, node, "reinit", "portal1400", node.name, "--force", "--wait")
    return node.name


async def _replace(cluster: Cluster, leader: str, standby: str) -> str:
    node = _third(cluster, leader, standby)
    node.kill()
    cluster.end_etcd(node)
    await asyncio.sleep(WITHOUT_SECONDS)
    cluster.lay_anew(node)
    await cluster.replace_etcd(node)
    cluster.start_patroni(node)
    return node.name


async def _upgrade(cluster: Cluster, leader: str, standby: str) -> str:
    for node in (_third(cluster, leader, standby), cluster.nodes[standby]):
        await _restarted(cluster, node)
    _, candidate = await cluster.whole(WHOLE_SECONDS)
    await cluster.switch_over(leader, candidate)
    await cluster.new_leader(leader, WHOLE_SECONDS)
    await cluster.whole(WHOLE_SECONDS)
    await _restarted(cluster, cluster.nodes[leader])
    return leader


async def _restarted(cluster: Cluster, node: Node) -> None:
    """`systemctl stop patroni`, another minor release under it, `systemctl start patroni`."""
    assert node.patroni is not None
    node.patroni.terminate()
    await asyncio.to_thread(node.patroni.wait, WHOLE_SECONDS)
    cluster.start_patroni(node)
    await cluster.whole(WHOLE_SECONDS)


async def _restore(cluster: Cluster, leader: str, _standby: str) -> str:
    await restored(cluster, cluster.nodes[leader])
    return leader


def _third(cluster: Cluster, leader: str, standby: str) -> Node:
    """The node that neither leads nor confirms commits."""
    (name,) = cluster.nodes.keys() - {leader, standby}
    return cluster.nodes[name]


ACTS = {
    "machine": Act("Patroni and PostgreSQL of the leader killed (kill -9)", _machine, takes_over=True),
    "hang": Act("Patroni and PostgreSQL of the leader frozen (SIGSTOP), connections open", _hang, takes_over=True),
    "patroni": Act("Patroni of the leader killed (kill -9), PostgreSQL lives unfenced", _patroni, takes_over=True),
    "postgres": Act("PostgreSQL of the leader killed (kill -9), its Patroni lives", _postgres),
    "standby": Act("Patroni and PostgreSQL of the synchronous standby killed", _standby),
    "switchover": Act("a planned change of the leader", _switchover, takes_over=True),
    "etcd": Act("etcd of the leader's machine killed and its disk lost; a new member in its place", _etcd),
    "reinit": Act("a standby whose data is damaged, made anew from the leader", _reinit),
    "replace": Act("a standby's machine lost with its etcd; an empty one in its place", _replace),
    "upgrade": Act(
        "every node restarted, standbys first, the leader when it leads no more", _upgrade, takes_over=True
    ),
    "restore": Act(
        "a base backup, and beside the cluster a server as it was at one moment", _restore, server="system"
    ),
}
