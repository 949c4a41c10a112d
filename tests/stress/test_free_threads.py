"""Several threads on one object at once: truly so without an interpreter lock; with one, by switching often.

Each program runs in a process of its own: what goes wrong may end it.
"""

import subprocess
import sys

import pytest

#: Runs whose deadline passes while another thread drops them: their wakers must not find them afterwards.
DROPPED_AS_THEY_WAKE = """
import asyncio, queue, sys, threading, time
from mountain_runtime import Timeout, effect

sys.setswitchinterval(1e-5)
ROUNDS, AT_ONCE = 60, 200
dropped = queue.SimpleQueue()

class Bare:
    def __await__(self):
        while True:
            yield

@effect(Timeout(0.001))
async def suspended():
    await Bare()

def drop():
    while (runs := dropped.get()) is not None:
        time.sleep(0.0005)  # half of their limit: the rest of it passes while they go, one after another
        while runs:
            runs.pop()

async def main():
    for _ in range(ROUNDS):
        runs = [suspended().__await__() for _ in range(AT_ONCE)]
        for run in runs:
            run.send(None)
        dropped.put(runs)
        del runs, run
        await asyncio.sleep(0.002)  # here they are woken
        asyncio.current_task().uncancel()

def body():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(shielded())
    loop.close()

async def shielded():
    # Whoever is woken in time asks the task of its step to end: that is this one, which goes on.
    task = asyncio.ensure_future(main())
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            pass

droppers = [threading.Thread(target=drop) for _ in range(2)]
loops = [threading.Thread(target=body) for _ in range(2)]
for thread in droppers + loops:
    thread.start()
for thread in loops:
    thread.join()
for _ in droppers:
    dropped.put(None)
for thread in droppers:
    thread.join()
print("whole")
"""

#: One handle gets callbacks, is cancelled, shown and collected, by many.
ONE_HANDLE = """
import asyncio, gc, sys, threading
from mountain_runtime._native import trial_sleep as sleep

sys.setswitchinterval(1e-5)

async def main():
    for _ in range(300):
        handle = sleep(60).__await__()
        ready = threading.Barrier(4)

        def work(n):
            ready.wait()
            for _ in range(10):
                handle.add_done_callback(print)
                repr(handle), handle.done(), handle.remove_done_callback(print)
            if n == 0:
                gc.collect()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        handle.cancel()
        try:
            await asyncio.ensure_future(handle)
        except asyncio.CancelledError:
            pass

asyncio.run(main())
print("whole")
"""

#: Loops of their own, with everything in flight, over objects that they share.
SHARED_POLICIES = """
import asyncio, gc, sys, threading
from mountain_runtime import Cache, CircuitBreaker, ConcurrencyLimit, RateLimit, Retry, Timeout, effect, gather
from mountain_runtime._native import trial_noop as noop

sys.setswitchinterval(1e-5)
limit, cache = ConcurrencyLimit(8, key=lambda n: n % 7), Cache(ttl=0.01, max_size=50)
calls = [0] * 4

@effect(Timeout(30), cache, Retry(on=OSError, attempts=5), CircuitBreaker(failures=10**6), limit, Timeout(5))
async def shared(n):
    calls[n % 4] += 1
    await asyncio.sleep(0)
    if n % 5 == 0 and calls[n % 4] % 3 == 0:
        raise OSError(n)
    return [n, await noop(n)]

async def main(n):
    for start in range(0, 600, 30):
        got = await asyncio.gather(*(shared((start + i) % 40) for i in range(30)))
        assert [each[0] for each in got] == [(start + i) % 40 for i in range(30)]
        assert await gather([noop(i) for i in range(20)]) == list(range(20))
    ended.append(n)

def body(n):
    asyncio.run(main(n))

ended = []
threads = [threading.Thread(target=body, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    gc.collect()
for thread in threads:
    thread.join()
assert sum(limit.statistics().waiting.values()) == 0 and limit.statistics().in_flight == 0
print("whole" if len(ended) == 4 else "a loop failed")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(DROPPED_AS_THEY_WAKE, id="dropped_as_they_wake"),
        pytest.param(ONE_HANDLE, id="one_handle"),
        pytest.param(SHARED_POLICIES, id="shared_policies"),
    ],
)
def test_at_once(program: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=290, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1:]) == (0, ["whole"]), ended.stderr[-3000:]
