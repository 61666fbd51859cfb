"""Where the processes of a fleet listen."""

import socket
from itertools import count

import pytest

from ops import fleet
from ops.fleet import PORTS, free_port
from ops.servers.ports import DRAWN_FROM, LOOPBACK


def test_each_process_has_a_port_of_its_own_that_no_connection_is_given_while_it_is_away():
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    # What Linux gives to connections begins at 32768; stacks draw from a range of theirs.
    assert all(port in PORTS and port not in DRAWN_FROM for port in ports)
    assert max(PORTS) < 32768


def test_a_port_that_somebody_has_is_left_out(monkeypatch: pytest.MonkeyPatch):
    taken = free_port()
    with socket.socket() as other:
        other.bind((LOOPBACK, taken))
        monkeypatch.setattr(fleet, "_NUMBERS", count(PORTS.index(taken)))
        assert free_port() != taken
