"""RabbitMQ as a cluster of private nodes on this machine: what quorum queues are tried on."""

import json
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.servers import ports
from ops.servers.base import Server, StackError
from ops.servers.machine import Machine
from ops.servers.process import BackgroundProcess
from ops.servers.rabbitmq import DEBIAN_SERVER, RabbitMQ

#: The least that has a majority when one is away.
NODES = 3
#: Seconds that a question to a node may take: each starts an Erlang of its own.
PATIENCE = 60.0


class Node(RabbitMQ):
    """One of the cluster. They share one epmd, by which they find each other."""

    patience = 180

    def __init__(self, machine: Machine, *, epmd: BackgroundProcess, peers: Sequence[str]) -> None:
        super().__init__(machine)
        self._epmd = epmd
        self._peers = peers

    def stop(self) -> None:
        """The node alone: the others need the epmd."""
        Server.stop(self)

    def ask(self, *arguments: str) -> Any:
        """What `rabbitmqctl` prints as JSON, asked of this node. Raises StackError."""
        folder = self.folder.resolve()
        environ = self._clean_environ() | self._node_environ(folder)
        # It would take the node's own port.
        for name in ("RABBITMQ_DIST_PORT", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"):
            environ.pop(name)
        done = subprocess.run(
            [self._control(), "--quiet", "--formatter", "json", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:500]
            raise StackError(f"{self.node}: rabbitmqctl {arguments[0]}: {said}")
        return json.loads(done.stdout)

    def _control(self) -> str:
        beside = DEBIAN_SERVER.with_name("rabbitmqctl")
        program = str(beside) if beside.exists() else self.on_path("rabbitmqctl")
        if program is None:
            raise self.missing()
        return program

    def _write_config(self, folder: Path) -> None:
        super()._write_config(folder)
        lines = ["cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config"]
        lines += [
            f"cluster_formation.classic_config.nodes.{number} = {peer}"
            for number, peer in enumerate(self._peers, start=1)
        ]
        # Nodes are started one after the other: there is no race to wait out.
        lines += [
            "cluster_formation.randomized_startup_delay_range.min = 0",
            "cluster_formation.randomized_startup_delay_range.max = 0",
            # A leader's death is seen by its connections; this is for a node that hangs.
            "net_ticktime = 10",
        ]
        with (folder / "rabbitmq.conf").open("a", encoding="utf-8") as config:
            config.write("\n".join(lines) + "\n")
        cookie = folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(self.machine.secrets["cookie"], encoding="utf-8")
            cookie.chmod(0o400)


class Cluster:
    """Nodes that know each other, in `folder`, which they alone use.

    cluster = Cluster(Path(".stack/soak/cluster"), environ)
    cluster.up()
    cluster.url             # all of them, separated by `;`
    cluster.leader("orders.quorum.v1").kill()
    cluster.down()
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], *, secrets: Mapping[str, str]) -> None:
        self._epmd = BackgroundProcess(folder / "epmd.pid", folder / "logs" / "epmd.log")
        names = [f"{name}_{number}" for number in range(NODES) for name in ("amqp", "amqp_dist")]
        drawn = ports.draw(["epmd", *names], avoid=())
        peers = [_node_name(folder, number) for number in range(NODES)]
        self.nodes = [
            Node(
                Machine(
                    folder / f"{folder.name}-{number}",
                    {
                        "epmd": drawn["epmd"],
                        "amqp": drawn[f"amqp_{number}"],
                        "amqp_dist": drawn[f"amqp_dist_{number}"],
                    },
                    secrets,
                    environ,
                ),
                epmd=self._epmd,
                peers=peers,
            )
            for number in range(NODES)
        ]

    @property
    def url(self) -> str:
        """Of all nodes, as `STOCKYARD_RABBITMQ_URL` takes them."""
        return ";".join(node.url for node in self.nodes)

    def up(self) -> None:
        """One node after the other, each of which joins those before. Raises StackError."""
        for node in self.nodes:
            node.start()
        known = {node.node for node in self.nodes}
        found = set(self.nodes[0].ask("cluster_status")["running_nodes"])
        if found != known:
            raise StackError(f"the nodes did not form a cluster: {', '.join(sorted(found))}")

    def down(self) -> None:
        """Idempotent; the nodes, then their epmd."""
        for node in self.nodes:
            node.kill()
        self._epmd.stop(grace=2)

    def leader(self, queue: str) -> Node:
        """The node on which the queue's leader is. Raises StackError."""
        for row in self._running().ask("list_queues", "name", "leader"):
            if row["name"] == queue:
                return self._named(str(row["leader"]))
        raise StackError(f"there is no queue {queue} in the cluster")

    def busiest(self) -> Node:
        """The node with the most connections of clients. Raises StackError."""
        rows = self._running().ask("list_connections", "port")
        counts = Counter(int(row["port"]) for row in rows)
        if not counts:
            raise StackError("nobody is connected to the cluster")
        return max(self.nodes, key=lambda node: counts[node.port("amqp")])

    def waiting(self) -> dict[str, int]:
        """Messages in each queue, those that are with consumers included."""
        rows = self._running().ask("list_queues", "name", "messages")
        return {str(row["name"]): int(row["messages"]) for row in rows}

    def _running(self) -> Node:
        return next(node for node in self.nodes if node.running())

    def _named(self, name: str) -> Node:
        return next(node for node in self.nodes if node.node == name)


def _node_name(folder: Path, number: int) -> str:
    return f"stockyard-{folder.name}-{number}@localhost"
