"""What the soak on a cluster makes of what it saw, and how its nodes are told of each other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops.servers.rabbitmq_cluster import NODES, Cluster
from ops.soak.cluster import gaps

BEGAN = datetime(2026, 11, 22, tzinfo=UTC)


def job(accepted: float, ended: float, *, sent: float | None = None) -> dict[str, Any]:
    def at(ms: float) -> datetime:
        return BEGAN + timedelta(milliseconds=ms)

    return {"created_at": at(accepted), "finished_at": at(ended), "dispatched_at": at(sent or accepted)}


def test_gaps_are_those_between_orders_and_the_span_of_what_was_not_confirmed():
    rows = [job(0, 20), job(100, 1900, sent=900), job(400, 1950, sent=900), job(450, 2000), job(500, 510)]
    assert gaps(rows) == {
        "accept_gap_ms": 300.0,
        "consume_gap_ms": 1390.0,
        "unconfirmed": 2,
        "publish_gap_ms": 300.0,
        "longest_ms": 1800.0,
    }


def test_an_order_that_never_ended_has_no_wait():
    lost = job(400, 400) | {"finished_at": None}
    assert gaps([job(0, 20), lost, job(500, 520)]) == {
        "accept_gap_ms": 400.0,
        "consume_gap_ms": 500.0,
        "unconfirmed": 0,
        "publish_gap_ms": 0.0,
        "longest_ms": 20.0,
    }


def test_a_kill_that_nobody_noticed_has_no_gaps():
    assert set(gaps([]).values()) == {0}


def test_nodes_share_an_epmd_and_a_secret_and_know_each_other(tmp_path: Path):
    secrets = {"amqp_user": "u", "amqp_password": "p", "cookie": "C"}
    cluster = Cluster(tmp_path / "three", {}, secrets=secrets)
    assert len(cluster.nodes) == NODES == len(cluster.url.split(";"))
    assert len({node.port("epmd") for node in cluster.nodes}) == 1
    assert len({node.port(name) for node in cluster.nodes for name in ("amqp", "amqp_dist")}) == 2 * NODES
    for node in cluster.nodes:
        folder = node.folder.resolve()
        folder.mkdir(parents=True)
        node._write_config(folder)
        config = (folder / "rabbitmq.conf").read_text(encoding="utf-8")
        assert all(f"= {peer.node}\n" in config for peer in cluster.nodes)
        cookie = folder / "home" / ".erlang.cookie"
        assert cookie.read_text(encoding="utf-8") == "C"
        assert cookie.stat().st_mode & 0o777 == 0o400
