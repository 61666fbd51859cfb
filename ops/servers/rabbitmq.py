"""RabbitMQ as a private node: own name, ports, epmd, cookie, data and log; never the system's service."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pika

from ops.servers import ports
from ops.servers.base import Server, StackError
from ops.servers.machine import Machine
from ops.servers.process import BackgroundProcess, wait_until

#: The server itself, where Debian puts it. What Debian has on the PATH is a wrapper that insists on
#: root and becomes the user `rabbitmq`.
DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

#: Where Erlang keeps epmd if it is not on the PATH.
ERLANG = Path("/usr/lib/erlang")


class RabbitMQ(Server):
    """A node that keeps its queues and messages over a kill -9."""

    slug = "rabbitmq"
    label = "RabbitMQ"
    variable = "STOCKYARD_RABBITMQ_URL"
    remedy = "install the package rabbitmq-server (`make setup` does)"
    port_names = ("amqp", "amqp_dist")
    patience = 90
    grace = 20

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._epmd = BackgroundProcess(machine.folder / "epmd.pid", machine.folder / "logs" / "epmd.log")

    @property
    def own_url(self) -> str:
        """`amqp://` with the stack's own user, virtual host `/`."""
        user, password = self.machine.secrets["amqp_user"], self.machine.secrets["amqp_password"]
        return f"amqp://{user}:{password}@{ports.LOOPBACK}:{self.port('amqp')}/%2F"

    @property
    def node(self) -> str:
        """The node's own name."""
        return f"stockyard-{self.machine.folder.name}@localhost"

    def launch(self) -> None:
        """The node's name server first, then the node."""
        self._program()
        if not self._epmd.running():
            self._launch_epmd()
        super().launch()

    def stop(self) -> None:
        """The node, then its epmd."""
        super().stop()
        if self.managed:
            self._epmd.stop(grace=2)

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """The server's own script, which becomes the Erlang process."""
        folder = self.folder.resolve()
        self._write_config(folder)
        return [self._program()], self._clean_environ() | self._node_environ(folder)

    def ping(self) -> None:
        """An AMQP connection, opened and closed."""
        parameters = pika.URLParameters(self.url)
        # Looked at first, for pika logs every refused connection as an error.
        if not ports.accepts(parameters.port, host=parameters.host):
            raise ConnectionRefusedError(self.address)
        parameters.blocked_connection_timeout = parameters.socket_timeout = 5
        pika.BlockingConnection(parameters).close()

    def _program(self) -> str:
        program = str(DEBIAN_SERVER) if DEBIAN_SERVER.exists() else self.on_path("rabbitmq-server")
        if program is None:
            raise self.missing()
        return program

    def _launch_epmd(self) -> None:
        epmd = self.on_path("epmd") or next(map(str, ERLANG.glob("erts-*/bin/epmd")), None)
        if epmd is None:
            raise self.missing()
        port = self.port("epmd")
        self.need_free(port)
        self._epmd.start([epmd, "-address", ports.LOOPBACK, "-port", str(port)], self._clean_environ())
        if not wait_until(lambda: ports.accepts(port), seconds=10):
            raise StackError(f"{self.label}: its name server epmd did not come up on port {port}")

    def _write_config(self, folder: Path) -> None:
        secrets = self.machine.secrets
        lines = [
            f"listeners.tcp.local = {ports.LOOPBACK}:{self.port('amqp')}",
            f"default_user = {secrets['amqp_user']}",
            f"default_pass = {secrets['amqp_password']}",
            "log.console = true",
            "log.console.level = warning",
        ]
        config = folder / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "enabled_plugins").write_text("[].\n", encoding="utf-8")
        (folder / "home").mkdir(exist_ok=True)

    def _node_environ(self, folder: Path) -> dict[str, str]:
        kernel = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": ports.LOOPBACK,
            "ERL_EPMD_PORT": str(self.port("epmd")),
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self.port("amqp_dist")),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{kernel} -start_epmd false",
            # Otherwise a shell stays between us and the node, and a kill would hit the shell.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _clean_environ(self) -> dict[str, str]:
        foreign = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET")
        return {key: value for key, value in self.machine.environ.items() if not key.startswith(foreign)}
