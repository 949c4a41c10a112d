"""Functions that are stopped on their threads: each ends once, and nothing stays behind in the interpreter."""

import subprocess
import sys

PROGRAM = """
import asyncio, random, sys, threading
from mountain_runtime._effect.stoppable import Stoppable

sys.setswitchinterval(1e-5)  # threads take turns in the middle of everything
dice, ends, calls = random.Random(17), {"result": 0, "cancelled": 0}, []
begun = threading.Semaphore(0)

def works(turns):
    begun.release()
    for _ in range(turns):
        pass
    return turns

def endless():
    begun.release()
    while True:
        pass

def swallows():
    begun.release()
    try:
        while True:
            pass
    except asyncio.CancelledError:
        return "cleaned up"

def calls_all():
    for call in calls:
        try:
            ends["result" if call() is not None else ""] += 1
        except asyncio.CancelledError:
            ends["cancelled"] += 1
        for _ in range(100):  # an error that came late would end the thread
            pass

calls.extend(Stoppable(lambda: works(dice.choice((0, 10, 100, 1000, 10_000, 100_000)))) for _ in range(1000))
calls += [Stoppable(endless), Stoppable(swallows)]
thread = threading.Thread(target=calls_all)
thread.start()
for call in calls:
    begun.acquire()
    for _ in range(dice.randrange(300)):
        pass
    call.stop()
    call.stop()
thread.join()
assert sum(ends.values()) == len(calls) and ends["cancelled"] > 10, ends

def under_a_profiler():
    return "ended"

# With the mark, it would never come to its first step.
sys.setprofile(lambda *_: None)
ended = under_a_profiler()
sys.setprofile(None)
print(ended)
"""


def test_stops_at_random_moments_leave_no_error_and_no_mark_in_the_interpreter() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
