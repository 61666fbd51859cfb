"""Group commit: sizes, order, and whose exception is whose."""

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from domain.batching import Batcher
from tests.factories import eventually


class Recorder:
    """An `apply` that answers ten times its item, once its gate is open; `batches` has what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: list[int]) -> Sequence[int | BaseException]:
        self.batches.append(items)
        await self.gate.wait()
        return [ValueError(item) if item < 0 else item * 10 for item in items]


@pytest.fixture
async def apply() -> Recorder:
    return Recorder()


async def test_a_lone_call_waits_for_nobody(apply: Recorder):
    assert await Batcher(apply).submit(7) == 70
    assert apply.batches == [[7]]


@pytest.mark.parametrize(
    ("calls", "sizes"), [(4, [4]), (5, [4, 1]), (10, [5, 4, 1]), (40, [16, 12, 6, 4, 2]), (1, [1])]
)
async def test_of_many_half_waits_for_the_next_batch(apply: Recorder, calls: int, sizes: list[int]):
    batcher = Batcher[int, int](apply, max_size=16, halve_from=4)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(calls)))
    assert results == [10 * n for n in range(calls)]
    assert [len(batch) for batch in apply.batches] == sizes


async def test_calls_that_come_together_are_one_batch_in_their_order(apply: Recorder):
    results = await asyncio.gather(
        *(Batcher.submit(batcher, n) for batcher in [Batcher(apply)] for n in (3, 1, 2))
    )
    assert results == [30, 10, 20]
    assert apply.batches == [[3, 1, 2]]


async def test_the_next_batch_gathers_while_one_is_at_work(apply: Recorder):
    apply.gate.clear()
    batcher: Batcher[int, int] = Batcher(apply)
    first = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: apply.batches == [[1]])
    others = [asyncio.create_task(batcher.submit(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    assert apply.batches == [[1]]
    apply.gate.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert apply.batches == [[1], [2, 3, 4]]


async def test_no_batch_is_larger_than_the_limit_and_each_size_is_told(apply: Recorder):
    sizes: list[int] = []
    batcher: Batcher[int, int] = Batcher(apply, max_size=4, observe=sizes.append)
    assert await asyncio.gather(*(batcher.submit(n) for n in range(10))) == [n * 10 for n in range(10)]
    assert apply.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert sizes == [4, 4, 2]


async def test_one_item_can_fail_alone(apply: Recorder):
    batcher: Batcher[int, int] = Batcher(apply)
    good, bad, other = await asyncio.gather(*(batcher.submit(n) for n in (1, -2, 3)), return_exceptions=True)
    assert (good, other) == (10, 30)
    assert isinstance(bad, ValueError)


async def test_a_batch_that_raises_fails_for_each_of_its_items_and_for_no_other():
    async def apply(items: list[int]) -> list[int]:
        if 13 in items:
            raise RuntimeError("unlucky")
        return items

    batcher: Batcher[int, int] = Batcher(apply, max_size=2)
    results = await asyncio.gather(*(batcher.submit(n) for n in (1, 13, 2, 3)), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError, RuntimeError, int, int]


async def test_a_wrong_number_of_results_is_an_error_of_all():
    async def apply(items: list[int]) -> list[int]:
        return items[1:]

    batcher: Batcher[int, int] = Batcher(apply)
    results = await asyncio.gather(*(batcher.submit(n) for n in (1, 2)), return_exceptions=True)
    assert [str(result) for result in results] == ["1 results for 2 items"] * 2


async def test_a_caller_that_gives_up_leaves_its_item_in_the_batch(apply: Recorder):
    apply.gate.clear()
    batcher: Batcher[int, int] = Batcher(apply)
    gone, stays = (asyncio.create_task(batcher.submit(n)) for n in (1, 2))
    await eventually(lambda: apply.batches == [[1, 2]])
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    apply.gate.set()
    assert await stays == 20
    assert apply.batches == [[1, 2]]


async def test_drain_waits_for_what_is_at_work_and_for_what_gathers(apply: Recorder):
    apply.gate.clear()
    batcher: Batcher[int, int] = Batcher(apply, max_size=1)
    calls = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await eventually(lambda: apply.batches == [[1]])
    drained = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    apply.gate.set()
    await drained
    assert apply.batches == [[1], [2]]
    assert await asyncio.gather(*calls) == [10, 20]


async def test_draining_what_was_never_used_returns_at_once(apply: Recorder):
    await Batcher(apply).drain()


async def test_a_batcher_that_was_idle_starts_again(apply: Recorder):
    batcher: Batcher[int, int] = Batcher(apply)
    assert [await batcher.submit(n) for n in (1, 2)] == [10, 20]


async def test_what_is_posted_is_applied_and_its_failure_is_nobodys(apply: Recorder):
    batcher: Batcher[int, int] = Batcher(apply)
    batcher.post(-1)
    batcher.post(2)
    await batcher.drain()
    assert apply.batches == [[-1, 2]]


async def test_a_batch_runs_in_nobodys_context():
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    async def apply(items: list[int]) -> list[str]:
        return [who.get() for _ in items]

    batcher: Batcher[int, str] = Batcher(apply)
    who.set("ada")
    assert await batcher.submit(1) == "nobody"


async def test_batchers_that_share_a_gate_take_turns_and_gather_meanwhile(apply: Recorder):
    gate = asyncio.Lock()
    other = Recorder()
    one: Batcher[int, int] = Batcher(apply, gate=gate)
    two: Batcher[int, int] = Batcher(other, gate=gate)
    apply.gate.clear()
    first = asyncio.create_task(one.submit(1))
    await eventually(lambda: apply.batches == [[1]])
    second = asyncio.create_task(two.submit(2))
    await asyncio.sleep(0)
    third = asyncio.create_task(two.submit(3))
    for _ in range(5):
        await asyncio.sleep(0)
    assert other.batches == []
    apply.gate.set()
    assert list(await asyncio.gather(first, second, third)) == [10, 20, 30]
    assert other.batches == [[2, 3]]
