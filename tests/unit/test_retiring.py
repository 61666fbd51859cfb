"""Queues of a form that nobody uses any more."""

from typing import cast

import pytest

from domain.audit_log.service import AuditLog
from domain.control.retiring import Retired, Retiring
from domain.errors import ServiceAway
from domain.ports import FormerQueue, QueueForm
from tests.fakes import FakeJobQueue


async def test_while_the_broker_does_not_say_nobody_says_that_there_are_none():
    broker = FakeJobQueue()
    broker.away = True
    retiring = Retiring(queue=broker, audit_log=cast("AuditLog", None))
    with pytest.raises(ServiceAway):
        await retiring.look(QueueForm("classic", 1))


def test_what_has_messages_or_consumers_is_not_idle():
    found = [FormerQueue("a", 0, 0), FormerQueue("b", 1, 0), FormerQueue("c", 0, 1)]
    assert Retired(found).idle == ["a"]
    assert [each.name for each in Retired(found, ["a"]).kept] == ["b", "c"]
