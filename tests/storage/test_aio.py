"""The awaited store is the other one, method for method, and holds no event loop up."""

import asyncio
import inspect

from hashing_encoder import HashingEncoder

from mnemic.storage.aio import AsyncMemoryStore
from mnemic.storage.store import MemoryStore


def test_every_method_has_its_namesake_with_the_same_parameters() -> None:
    for name, method in inspect.getmembers(MemoryStore, inspect.isfunction):
        if name.startswith("_"):
            continue
        twin = getattr(AsyncMemoryStore, name)
        assert inspect.iscoroutinefunction(twin), name
        plain = [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
        assert [(p.name, p.kind, p.default) for p in inspect.signature(twin).parameters.values()] == plain, name


def test_many_at_once_lose_nothing_while_the_loop_goes_on(location: str) -> None:
    async def work() -> tuple[int, int, list[str]]:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with await AsyncMemoryStore.open(location, encoder=HashingEncoder()) as store:
            ticking = asyncio.create_task(tick())
            reports = await asyncio.gather(*(store.add(f"text {number % 20}") for number in range(40)))
            hits = await store.search("text 7", method="bm25", k=1)
            ticking.cancel()
            assert sum(report.stored for report in reports) == (await store.stats()).events
            return (await store.stats()).events, turns, [hit.text for hit in hits]

    events, turns, found = asyncio.run(work())
    assert (events, found) == (20, ["text 7"])
    assert turns > 10
