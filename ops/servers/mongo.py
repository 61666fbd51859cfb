"""MongoDB: a `mongod` on the PATH as a replica set of one, else SecantusDB with durable commits."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from ops.servers import ports
from ops.servers.base import Server

#: What `hello` of a mongod says before its replica set has been initiated.
NOT_YET_INITIATED = 94

#: Seconds that a transaction may last, more than ours ever do: what a process that was killed in the middle
#: of one had written is locked for so long.
LIFETIME = 15


class NotYetPrimaryError(Exception):
    """It answers, and does not take writes yet."""


class Mongo(Server):
    """Transactions, change streams and commits that survive a kill -9."""

    slug = "mongo"
    label = "MongoDB"
    variable = "STOCKYARD_MONGO_URL"
    remedy = "run `make setup`, or put mongod on the PATH"
    port_names = ("mongo",)

    @property
    def own_url(self) -> str:
        """`mongodb://`, straight to the one member; names no database."""
        return f"mongodb://{ports.LOOPBACK}:{self.port('mongo')}/?directConnection=true"

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """The real one if it is there; each has a data folder of its own."""
        mongod = self.on_path("mongod")
        if mongod:
            return self._mongod(mongod), self.machine.environ
        if importlib.util.find_spec("secantus") is None:
            raise self.missing()
        return self._secantus(), self.machine.environ

    def ping(self) -> None:
        """`hello` from a primary, then `ping`. Initiates the replica set of a new mongod of ours."""
        # Looked at first, for the client would wait half a second before it tries again.
        if self.managed and not ports.accepts(self.port("mongo")):
            raise ConnectionRefusedError(self.address)
        client: MongoClient[dict[str, Any]]
        with MongoClient(self.url, serverSelectionTimeoutMS=2000, socketTimeoutMS=5000) as client:
            if self.managed and self.on_path("mongod"):
                self._initiate(client)
            if not client.admin.command("hello").get("isWritablePrimary"):
                raise NotYetPrimaryError
            client.admin.command("ping")

    def _data(self, name: str) -> str:
        data = self.folder.resolve() / name
        data.mkdir(exist_ok=True)
        return str(data)

    def _mongod(self, program: str) -> list[str]:
        data = self._data("mongod")
        place = ["--dbpath", data, "--bind_ip", ports.LOOPBACK, "--port", str(self.port("mongo"))]
        options = ["--nounixsocket", "--replSet", "stockyard", "--wiredTigerCacheSizeGB", "0.5"]
        return [program, *place, *options, "--setParameter", f"transactionLifetimeLimitSeconds={LIFETIME}"]

    def _secantus(self) -> list[str]:
        data = self._data("secantus")
        # A config file of our own, although empty: otherwise it looks for one in the user's folders.
        config = self.folder / "secantusd.toml"
        config.touch()
        place = ["--host", ports.LOOPBACK, "--port", str(self.port("mongo")), "--storage-path", data]
        command_line = Path(__file__).with_name("secantusd.py")
        program = [sys.executable, "-P", str(command_line), "--config", str(config.resolve())]
        return [*program, *place, "--sync-on-commit", "--cache-size", "256M", "--log-level", "WARNING"]

    def _initiate(self, client: "MongoClient[dict[str, Any]]") -> None:
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code != NOT_YET_INITIATED:
                raise
            member = {"_id": 0, "host": f"{ports.LOOPBACK}:{self.port('mongo')}"}
            client.admin.command("replSetInitiate", {"_id": "stockyard", "members": [member]})
