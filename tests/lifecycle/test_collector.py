"""The garbage collector may come at any allocation, also in the middle of the making of one of our objects."""

import pytest

from .support import execute

pytestmark = pytest.mark.processes

#: A collection at nearly each allocation. What is half made then must not be looked into: a crash ends the program.
MAKES = """
@effect
async def work(): return 1

async def plain(): return 1

class Api:
    @effect
    async def method(self): return 1

def functions():
    return effect(plain), blocking(len), blocking(int), effect(Timeout(1), Retry(on=OSError))(plain), Api().method

def effects():
    made = [work(), _native.noop(), Api().method(), work().under(Timeout(1)), blocking(int)()]
    for each in made:
        each.close()
    return made

def runtimes():
    return [Runtime(), Runtime(workers=1, threads=1)]

async def runs():
    await work()
    await gather([work(), _native.noop(), blocking(int)()])
    await race(work().map(str), _native.noop().map(str))
    async with Runtime() as runtime:
        handle = runtime.submit(work())
        await asyncio.wait([handle, asyncio.ensure_future(runtime.submit(_native.noop()))])
        runtime.submit(_native.sleep(60)).cancel()

make = dict(functions=functions, effects=effects, runtimes=runtimes, runs=lambda: asyncio.run(runs()))[sys.argv[1]]
gc.set_threshold(2, 1, 1)
for _ in range(int(sys.argv[2])):
    make()
print("fine")
"""


@pytest.mark.parametrize(("what", "times"), [("functions", 50), ("effects", 50), ("runtimes", 50), ("runs", 10)])
def test_nothing_that_is_half_made_is_looked_into(what: str, times: int) -> None:
    assert execute(MAKES, what, str(times)).quietly().lines == ["fine"]
