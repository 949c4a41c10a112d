"""A program that forks in the middle of its work. The stress tests run it more often."""

from .support import execute_many

#: B4. The child answers by its exit status, the parent by what it prints.
FORKS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns

@effect(Timeout(10), Retry(on=OSError))
async def work(n):
    await _native.trial_sleep(0.001)
    return await on_thread(n) + await _native.trial_noop(1)

@blocking
def on_thread(n):
    return n

def child(runtime):
    if runtime is not None:
        try:
            runtime.submit(work(3))
        except Exception as error:
            if "fork" not in str(error):
                print("unclear:", repr(error), file=sys.stderr)
                return 2
        else:
            print("a runtime of the parent's took work", file=sys.stderr)
            return 3
    async def body():
        async with Runtime() as own:
            return await work(40) + await own.submit(_native.trial_noop(1))
    if asyncio.run(body()) != 42:
        return 4
    for _ in range(3):
        gc.collect()
    return 0

def forked(runtime):
    pid = os.fork()
    if not pid:
        status = 9
        try:
            status = child(runtime)
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
        finally:
            if "exit" in sys.argv:
                sys.exit(status)
            os._exit(status)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "the child hangs"

async def body():
    async with Runtime() as runtime:
        pending = [asyncio.create_task(work(n)) for n in range(5)] + [runtime.submit(_native.trial_sleep(0.01))]
        await asyncio.sleep(0)
        print(forked(runtime))
        await asyncio.gather(*pending)
        print(await work(6))

asyncio.run(work(1))
print(forked(None))
asyncio.run(body())
print(asyncio.run(work(7)))
"""


def check(times: int) -> None:
    for ended in execute_many(FORKS, times):
        ended.quietly()
        assert ended.lines == ["0", "0", "7", "8"], f"{ended.lines} {ended.said}"
