"""Functions for workers on Ray that are attacked. Imported once the head is there, and by its workers."""

import asyncio
import os
import signal
import time

from mountain_runtime import On, Timeout, blocking, effect, pools

address = os.environ.get("MOUNTAIN_TEST_HEAD", "127.0.0.1:1")
part = {"CPU": 0.25}  # the head has two: there is room for all of these
killed = pools.Ray(address, workers=2, resources=part, connect_timeout=30, name="killed")
single = pools.Ray(address, per_worker=2, resources=part, connect_timeout=30, name="attacked")
growing = pools.Ray(address, workers=(1, 3), resources=part, connect_timeout=30, name="growing")
#: It connects, and has no worker, as there is no room for one.
empty = pools.Ray(address, resources={"nowhere": 1}, connect_timeout=30, start_timeout=0.1, name="empty")
elsewhere = pools.Ray(
    address, workers=2, resources={"second": 1}, connect_timeout=30, start_timeout=20, name="elsewhere"
)


@blocking(On(killed))
def marks(path: str, what: str, seconds: float = 0.0) -> str:
    """Says durably that it runs."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what}\n".encode())
    os.fsync(fd)
    os.close(fd)
    time.sleep(seconds)  # real: it is at work
    return what


@blocking(On(single))
def pid() -> int:
    return os.getpid()


@blocking(On(single))
def takes(data: bytes, seconds: float = 0.0) -> int:
    time.sleep(seconds)  # real: it is at work
    return len(data)


@effect(On(single))
async def waits(seconds: float) -> int:
    await asyncio.sleep(seconds)  # real: it is at work
    return os.getpid()


@effect(Timeout(0.3), On(single))
async def stops_in_its_cleanup() -> None:
    """Its worker hears of the cancel, and then nothing more."""
    try:
        await asyncio.sleep(30)  # real: it is cut short
    finally:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(30)  # real: a signal may take its time


@blocking(Timeout(0.3), On(single))
def stops_itself() -> None:
    """Its whole process stops."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(30)  # real: a signal may take its time


@blocking(Timeout(0.3), On(single))
def holds_the_interpreter(seconds: float) -> None:
    """As code in C does that never gives the lock away."""
    import ctypes

    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


@blocking(On(growing))
def sleeps(seconds: float) -> int:
    time.sleep(seconds)  # real: it is at work
    return os.getpid()


@blocking(On(elsewhere))
def sleeps_elsewhere(seconds: float) -> int:
    time.sleep(seconds)  # real: it is at work
    return os.getpid()
