"""A fork with streams open: the child's pull, close or drop of one neither hangs nor disturbs the parent's."""

import pytest

from tests.lifecycle.support import execute

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("kind", ["plain", "limited", "hedged", "chunked", "timed"])
def test_a_child_that_has_its_parents_stream(kind: str) -> None:
    ended = execute(
        f"""
        import os, signal, warnings
        from mountain_runtime import ConcurrencyLimit, Hedge, Idle, chunked, stream
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
        limit, begun = ConcurrencyLimit(1), 0
        async def source():
            global begun
            begun += 1
            if begun == 1 and {kind!r} == "hedged":
                await asyncio.sleep(60)
            for n in range(4):
                await asyncio.sleep(0)
                yield n
        opens = dict(
            plain=lambda: stream(source)(), limited=lambda: stream(Timeout(60), limit, Idle(30))(source)(),
            hedged=lambda: stream(Hedge(0.001))(source)(), chunked=lambda: chunked(source(), 1),
            timed=lambda: chunked(source(), 1, within=60),
        )[{kind!r}]
        async def use(items, how):
            if how == "pull":
                try:
                    await anext(items)
                except RuntimeError:
                    pass  # its task is the parent's
            elif how == "close":
                await items.aclose()
        async def all_of(stream):
            async with stream as items:
                return [item async for item in items]
        def child(items, how):
            signal.alarm(10)
            asyncio.run(use(items, how))
            del items
            gc.collect()
            return len(asyncio.run(all_of(stream(limit)(source)()))) - 4 + limit.statistics().in_flight
        async def parent(how):
            global begun
            begun = 0
            items = aiter(opens())
            await anext(items)
            pid = os.fork()
            if not pid:
                status = 9
                try:
                    status = child(items, how)
                finally:
                    os._exit(status)
            _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status), len([item async for item in items])
        for how in ("pull", "close", "drop"):
            print(*asyncio.run(parent(how)))
        """
    )
    assert ended.lines == ["0 3"] * 3
