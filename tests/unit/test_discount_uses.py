"""Uses as parts of a transaction. No I/O."""

from domain.changes import Changes
from domain.discounts import uses
from domain.discounts.models import CUSTOMERS, DISCOUNTS, REDEMPTIONS
from domain.values import utcnow

NAMES = (DISCOUNTS, CUSTOMERS, REDEMPTIONS)


def test_uses_of_many_orders_end_each_once_in_updates_of_few_keys():
    entries = [
        {"id": f"{n}:X", "discount_id": "X", "customer": f"X:{n}", "amount": 5, "currency": "USD"}
        for n in range(120)
    ]
    changes = Changes()
    uses.release(changes, entries, at=utcnow())
    expected = {name: [each.expect for each in changes.guards if each.collection == name] for name in NAMES}
    assert expected == {DISCOUNTS: [1], CUSTOMERS: [1] * 120, REDEMPTIONS: [50, 50, 20]}
    (total,) = [each.update["$inc"] for each in changes.guards if each.collection == DISCOUNTS]
    assert (total["taken"], total["released"], total["amounts.USD.taken"]) == (-120, 120, -600)
    ended = [each.query["_id"]["$in"] for each in changes.guards if each.collection == REDEMPTIONS]
    assert [key for keys in ended for key in keys] == [entry["id"] for entry in entries]
