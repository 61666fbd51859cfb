"""SeaweedFS as S3: master, volume, filer and gateway in one process, all ports our own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
from botocore.config import Config

from ops.servers import ports
from ops.servers.base import Server, StackError, beside_python

ACCESS_KEY = "STOCKYARD_S3_ACCESS_KEY"
SECRET_KEY = "STOCKYARD_S3_SECRET_KEY"  # noqa: S105  the name of a variable

#: Seconds for an answer; the caller repeats.
ANSWER = 5.0
BRISK = Config(
    connect_timeout=2, read_timeout=ANSWER, retries={"total_max_attempts": 1}, signature_version="s3v4"
)


class SeaweedFS(Server):
    """An S3 endpoint with one generated key pair."""

    slug = "seaweedfs"
    label = "SeaweedFS"
    variable = "STOCKYARD_S3_ENDPOINT_URL"
    remedy = "run `make setup`, or put weed on the PATH"
    port_names = ("s3", "s3_grpc", "filer", "filer_grpc", "volume", "volume_grpc", "master", "master_grpc")
    # SIGTERM closes the volumes within milliseconds; then the filer waits 15 s for subscribers of its own.
    grace = 0.5

    @property
    def own_url(self) -> str:
        """The endpoint, for path-style addressing."""
        return f"http://{ports.LOOPBACK}:{self.port('s3')}"

    @property
    def access_key(self) -> str:
        """Ours, or the environment's for an endpoint of the environment."""
        return self.machine.secrets["s3_access_key"] if self.managed else self._given(ACCESS_KEY)

    @property
    def secret_key(self) -> str:
        """Ours, or the environment's for an endpoint of the environment."""
        return self.machine.secrets["s3_secret_key"] if self.managed else self._given(SECRET_KEY)

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Small volumes made when needed; no telemetry; nothing but loopback."""
        program = self.on_path("weed") or beside_python("weed")
        if program is None:
            raise self.missing()
        folder = self.folder.resolve()
        (folder / "data").mkdir(exist_ok=True)
        options = {"dir": folder / "data", "ip": ports.LOOPBACK, "ip.bind": ports.LOOPBACK}
        options |= {"master.volumeSizeLimitMB": 64, "master.volumePreallocate": "false"}
        options |= {"master.telemetry": "false", "volume.max": 0, "volume.preStopSeconds": 0}
        # There is nobody to be elected but itself; with the default of 10 s a restart takes 16 s.
        options |= {"master.electionTimeout": "500ms", "master.heartbeatInterval": "100ms"}
        options |= {"filer": "true", "s3": "true", "s3.config": self._identities(folder)}
        options |= {"s3.port.iceberg": 0, "s3.port.lance": 0} | self._own_ports()
        argv = [program, f"-logdir={folder}", "-logtostderr=true", "server"]
        argv += [f"-{key}={value}" for key, value in options.items()]
        return argv, {**self.machine.environ, "HOME": str(folder)}

    def ping(self) -> None:
        """A signed ListBuckets; of ours, also whether it can read what it stores."""
        at = urlsplit(self.url)
        if at.port and not ports.accepts(at.port, host=at.hostname or ports.LOOPBACK):
            raise ConnectionRefusedError(self.url)
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=BRISK,
        )
        client.list_buckets()
        client.close()
        if self.managed:
            self._need_volumes()

    def stop(self) -> None:
        """As a kill would, once the volumes are closed. Takes its sockets in the temporary folder along."""
        super().stop()
        if self.managed:
            for socket in Path("/tmp").glob("seaweedfs-*.sock"):  # noqa: S108  its place for them is fixed
                if socket.stem.rpartition("-")[2] in map(str, self._own_ports().values()):
                    socket.unlink(missing_ok=True)

    def _need_volumes(self) -> None:
        """Raises ConnectionError until the volumes have told the master of themselves.

        The gateway answers before, and an object that is there is an internal error until then.
        """
        status = f"http://{ports.LOOPBACK}:{self.port('master')}/dir/status"
        with urlopen(status, timeout=ANSWER) as answer:
            centers = json.load(answer)["Topology"]["DataCenters"] or []
        if not any(rack["DataNodes"] for center in centers for rack in center["Racks"] or []):
            raise ConnectionError("no volumes yet")

    def _own_ports(self) -> dict[str, int]:
        kinds = ("s3", "filer", "volume", "master")
        plain = {f"{kind}.port": self.port(kind) for kind in kinds}
        return plain | {f"{kind}.port.grpc": self.port(f"{kind}_grpc") for kind in kinds}

    def _identities(self, folder: Path) -> Path:
        pair = {"accessKey": self.access_key, "secretKey": self.secret_key}
        admin = {"name": "stockyard", "credentials": [pair], "actions": ["Admin"]}
        file = folder / "s3.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"identities": [admin]}), encoding="utf-8")
        return file

    def _given(self, variable: str) -> str:
        value = self.machine.environ.get(variable)
        if not value:
            raise StackError(f"{self.variable} is set, {variable} is not")
        return value
