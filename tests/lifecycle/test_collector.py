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
    made = [work(), _native.trial_noop(), Api().method(), work().under(Timeout(1)), blocking(int)()]
    for each in made:
        each.close()
    return made

def runtimes():
    return [Runtime(), Runtime(workers=1, threads=1)]

async def runs():
    await work()
    await gather([work(), _native.trial_noop(), blocking(int)()])
    await race(work().map(str), _native.trial_noop().map(str))
    async with Runtime() as runtime:
        handle = runtime.submit(work())
        await asyncio.wait([handle, asyncio.ensure_future(runtime.submit(_native.trial_noop()))])
        runtime.submit(_native.trial_sleep(60)).cancel()

make = dict(functions=functions, effects=effects, runtimes=runtimes, runs=lambda: asyncio.run(runs()))[sys.argv[1]]
gc.set_threshold(2, 1, 1)
for _ in range(int(sys.argv[2])):
    make()
print("fine")
"""


@pytest.mark.parametrize(("what", "times"), [("functions", 50), ("effects", 50), ("runtimes", 50), ("runs", 10)])
def test_nothing_that_is_half_made_is_looked_into(what: str, times: int) -> None:
    assert execute(MAKES, what, str(times)).quietly().lines == ["fine"]


#: The native part of a Runtime, without the face's, which a loop remembers.
SCOPES = """
import tempfile, weakref

class Scope(_native.Scope):
    def _spawn(self, effect, name):
        return asyncio.ensure_future(effect)

@effect
async def forever():
    await asyncio.get_running_loop().create_future()

async def entered(scope, workers=None):
    scope._setup(workers)
    scope._enter()
    return scope
"""


def test_a_runtime_that_was_never_left_lets_go_of_its_calls() -> None:
    ended = execute(
        SCOPES
        + """
async def main():
    return weakref.ref((await entered(Scope())).submit(forever()))

loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)  # its pending task is said to be destroyed
handle = loop.run_until_complete(main())
loop.close()
del loop
gc.collect()
print(handle())
"""
    )
    assert ended.quietly().lines == ["None"]


def test_workers_that_are_stuck_do_not_hold_up_whoever_drops_their_runtime() -> None:
    ended = execute(
        SCOPES
        + """
async def main():
    scope = await entered(Scope(), workers=1)
    scope.submit(_native.trial_tick(pipe, 0))
    await asyncio.sleep(0.1)  # a moment in which its worker opens the pipe, which nobody reads

pipe = os.path.join(tempfile.mkdtemp(), "pipe")
os.mkfifo(pipe)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
gc.collect()
print("on it goes")
"""
    )
    assert ended.quietly().lines == ["on it goes"]
    assert ended.took < 5


def test_a_runtime_that_another_one_replaces_may_run_code_as_it_goes() -> None:
    ended = execute(
        SCOPES
        + """
class Last(Scope):
    def __del__(self):
        _native.trial_noop().__await__()  # looks for the runtime of the running loop
        print("gone")

async def main():
    await entered(Last(), workers=1)
    await entered(Scope())
    print("entered")

asyncio.run(main())
"""
    )
    assert ended.quietly().lines == ["gone", "entered"]


def test_a_cancels_message_may_run_code_as_it_goes() -> None:
    ended = execute(
        """
class Message:
    def __del__(self):
        print(handle.done())

async def main():
    global handle
    handle = _native.trial_sleep(30).__await__()
    handle.cancel(Message())
    handle.cancel("the second")
    try:
        await handle
    except asyncio.CancelledError as error:
        print(error)

asyncio.run(main())
"""
    )
    assert ended.quietly().lines == ["False", "the second"]
