"""Programs that end without a shutdown, and how often one can do that. The stress tests do it more often."""

from .support import execute_many

#: B5: effects with Python callbacks are on their way when the program ends, in one of the ways in which programs end.
UNCLOSED = """
number = int(sys.argv[1])

@effect(Timeout(60), Retry(on=OSError))
async def work(n):
    await _native.trial_sleep(0.0005 * (n % 8))
    return n

@blocking
def on_thread(n):
    return n

done = []
async def main():
    runtime = Runtime()
    await runtime.__aenter__()
    noop, sleep = _native.trial_noop, _native.trial_sleep
    kinds = [work, on_thread, noop, lambda n: sleep(0.0003 * n), lambda n: noop(n).map(str)]
    for n in range(100):
        runtime.submit(kinds[n % len(kinds)](n)).add_done_callback(done.append)
    await asyncio.sleep(0.0002 * number)

if number % 3 == 0:
    asyncio.run(main())
    print(time.time())
else:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    print(time.time())
    if number % 3 == 2:
        loop.close()
        sys.exit(0)
"""

#: Threads are in the middle of `time.sleep` when the program ends.
ASLEEP = """
begun = threading.Semaphore(0)

@blocking
def nap():
    begun.release()
    time.sleep(60)

async def main():
    naps = [asyncio.create_task(nap()) for _ in range(4)]
    for _ in naps:
        await asyncio.to_thread(begun.acquire)
    print(time.time())

asyncio.run(main())
"""

#: The same under a Runtime that is left in order, but whose threads do not come back.
ASLEEP_IN_A_RUNTIME = """
begun = threading.Semaphore(0)

@blocking
def nap():
    begun.release()
    time.sleep(60)

async def main(runtime):
    for _ in range(4):
        runtime.submit(nap())
    for _ in range(4):
        await asyncio.to_thread(begun.acquire)
    print(time.time())

run(main, runtime=Runtime(shutdown=Shutdown(deadline=0.2, drain=0.1)))
"""

PROGRAMS = {"unclosed": UNCLOSED, "asleep": ASLEEP, "asleep in a runtime": ASLEEP_IN_A_RUNTIME}


def check(name: str, times: int) -> None:
    """The exit status is 0, nothing is complained of, and from the last line on it takes less than 2 s."""
    for ended in execute_many(PROGRAMS[name], times):
        ended.quietly()
        assert ended.at - float(ended.lines[-1]) < 2
