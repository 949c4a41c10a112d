"""The connection of this process to a Ray cluster: one for all pools, which the last of them leaves.

1. A TCP connection says whether there is a server, and a request whether it is a head of Ray's that takes our token:
   Ray itself tries for a minute, and then ends the program.
2. `ray.init` connects, on a thread, as it blocks. The thread stays until the pools leave: the system ends the processes
   of a local cluster with the thread that has started them.
3. A connection that the program has made itself is used, and left to it.
4. The last pool to leave disconnects. So does one that finds the head gone, before Ray ends the program.
5. The program may end the connection at any moment. What Ray is asked for after that fails, and connects to nothing.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from ..errors import NoWorkers

__all__ = ["alive", "aside", "connected", "create", "end", "ending", "forked", "join", "leave", "ray", "send"]

_lock = threading.Lock()
#: The pools that are connected, the address, and whether the connection is the program's own.
_users = 0
_address: str | None = None
_own = False
#: The process that has connected: a fork of it cannot use the connection.
_pid = 0
#: Ray's number for the connection, by which another one of the program's is told from it.
_job: str | None = None
#: A pool has found the head gone: the connection is to end before Ray ends the program.
_gone = False
#: Set when the pools have left, for the thread that has connected.
_left = threading.Event()
#: An attempt to connect that was left behind.
_late: threading.Thread | None = None
#: Those that end actors, and the seconds that are left to them before the connection ends.
_ending: set[threading.Thread] = set()
_ENDS = 2.0
#: The engines of its parent's pools, in a forked child.
_kept: list[object] = []
#: The program ends, and takes its workers along.
_exits = threading.Event()


def ray() -> Any:
    """The package. Raises NoWorkers where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise NoWorkers(f"Ray is not installed: pip install 'mountain-runtime[ray]' ({error})") from None
    return ray


def ending() -> bool:
    """Whether the program ends. Ray ends the connection then: the workers of a pool that was left open are no loss."""
    return _exits.is_set()


def join(address: str | None, seconds: float) -> None:
    """Connects; blocks for twice so many seconds at most. Raises NoWorkers where it cannot."""
    global _users, _address, _own, _pid, _job, _gone, _left
    package = ray()
    if not _lock.acquire(timeout=seconds):
        raise NoWorkers(f"another pool of this process has been connecting to Ray for {seconds:g} s")
    try:
        if _pid not in (0, os.getpid()):
            raise NoWorkers("this process is a fork of one that is connected to Ray: connect in one of them only")
        if _users:
            if address != _address:
                raise NoWorkers(f"this process is connected to Ray at {_address}: it has one connection")
            if _gone or not _same(package):
                raise NoWorkers("its connection to Ray has ended, and another pool of this process is leaving it")
            _users += 1
            return
        _await_late(seconds)
        if not (own := bool(package.is_initialized())):
            if address is not None:
                _limited(lambda: _check(address, seconds), seconds, f"no head of Ray answers at {address}")
            where = "local" if address is None else address
            refused = f"Ray at {where} does not take this process"
            _left = threading.Event()
            _limited(lambda: _init(package, where), seconds, refused, package.shutdown, _left)
        _users, _address, _own, _pid, _gone = 1, address, own, os.getpid(), False
        _job = package.get_runtime_context().get_job_id()
        atexit.unregister(_exits.set)
        atexit.register(_exits.set)  # before Ray's own step at exit: the last to be registered is the first to run
    finally:
        _lock.release()


def leave(*, gone: bool = False) -> None:
    """Disconnects where no other pool is connected; blocks. `gone`: the others find the head gone, too."""
    global _users, _pid, _gone
    until = time.monotonic() + _ENDS
    for thread in list(_ending):
        thread.join(max(until - time.monotonic(), 0.0))
    with _lock:
        _users -= 1
        _gone = _gone or gone
        if not _users:
            _pid = 0
            with contextlib.suppress(Exception):
                if not _own and _same(package := ray()):
                    package.shutdown()
            _left.set()


def end(actor: Any, address: str | None) -> None:
    """Ends an actor at once. On a thread, as Ray waits for a head that has gone."""

    def run() -> None:
        with contextlib.suppress(Exception):  # the connection has ended, and so do its actors
            if connected() and alive(address, _ENDS):
                _plain(ray(), "kill")(actor, no_restart=True)
        _ending.discard(thread)

    thread = threading.Thread(target=run, name="mountain-ray", daemon=True)
    _ending.add(thread)
    thread.start()


def create(actors: Any) -> Any:
    """An actor of a class. Raises where the connection has ended."""
    return _plain(cast("object", type(actors)), "_remote")(actors, (), {}, **actors._default_options)


def send(method: Any, arguments: Sequence[Any]) -> Any:
    """Calls an actor's method: the reference of its answer. Raises where the connection has ended."""
    return _plain(cast("object", type(method)), "_remote")(method, arguments, {})


def connected() -> bool:
    """Whether the connection is there that pools have joined: the program may have ended it, or made another."""
    return _users > 0 and _same(ray())


def alive(address: str | None, seconds: float) -> bool:
    """Whether the head is there; blocks for so many seconds at most."""
    if _gone:
        return False
    if address is None:
        return True  # its processes are children of this one
    host, port = _parts(address)
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError:
        return False
    return True


def forked(engine: object) -> None:
    """In a forked child: the connection is the parent's, and its threads are not here. Ray's own step at exit would
    wait for them, and so would the end of what an engine has: the child keeps it. A child that ends as those of
    `multiprocessing` do ends in order; Ray's destructors may crash one that ends by `sys.exit`.
    """
    global _lock
    _lock = threading.Lock()
    _kept.append(engine)
    if _users and not _own:
        atexit.unregister(ray().shutdown)


async def aside(step: Callable[[], object], undo: Callable[[], object] | None = None) -> None:
    """Runs a step that blocks on a thread that the end of the program does not wait for. A cancel is at once; a step
    that succeeds after it is undone.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if ended.done():
            if error is None and undo is not None:
                threading.Thread(target=undo, name="mountain-ray", daemon=True).start()
        elif error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            step()
        except BaseException as failure:
            error = failure
        try:
            loop.call_soon_threadsafe(tell, error)
        except RuntimeError:  # it has closed
            if error is None and undo is not None:
                undo()

    threading.Thread(target=run, name="mountain-ray", daemon=True).start()
    await ended


def _same(package: Any) -> bool:
    try:
        return bool(package.is_initialized()) and _plain(package, "get_runtime_context")().get_job_id() == _job
    except Exception:  # it has ended in between
        return False


def _plain(owner: object, name: str) -> Callable[..., Any]:
    """Step 5: a step of Ray's without what Ray does before it, which is to connect a process that is not connected. It
    would start a cluster of this machine.
    """
    step: Any = getattr(owner, name)
    return cast("Callable[..., Any]", getattr(step, "__wrapped__", step))


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    try:
        return host.strip("[]"), int(port)
    except ValueError:
        raise NoWorkers(f"{address!r} is not an address of Ray's, such as 127.0.0.1:6379") from None


def _check(address: str, seconds: float) -> None:
    """Step 1."""
    socket.create_connection(_parts(address), seconds).close()
    import ray._raylet as native

    head: Any = vars(native)["GcsClient"]
    head(address=address).get_all_node_info(timeout=seconds)


def _init(package: Any, where: str) -> None:
    """Step 2."""
    settings = {"include_dashboard": False} if where == "local" else {}
    logging.getLogger("ray").setLevel(logging.ERROR)  # it speaks before it looks at what follows
    package.init(where, logging_level=logging.ERROR, **settings)


def _limited(
    step: Any,
    seconds: float,
    what: str,
    undo: Callable[[], object] | None = None,
    stays: threading.Event | None = None,
) -> None:
    """A step on a thread of its own, which is left behind when its time is over; one that succeeds later is undone.
    The thread of one that succeeds in time goes on until `stays` is set.
    """
    global _late
    failed: list[BaseException | None] = []
    once = threading.Lock()
    done = threading.Event()
    left = False

    def run() -> None:
        error: BaseException | None = None
        try:
            step()
        except BaseException as failure:
            error = failure
        with once:
            failed.append(error)
        done.set()
        if left and error is None and undo is not None:
            with contextlib.suppress(Exception):
                undo()
        elif error is None and stays is not None:
            stays.wait()

    thread = threading.Thread(target=run, name="mountain-ray", daemon=True)
    thread.start()
    done.wait(seconds)
    with once:
        left = not failed
    if left:
        if undo is not None:
            _late = thread
        raise NoWorkers(f"{what} within {seconds:g} s")
    if (error := failed[0]) is not None:
        raise NoWorkers(f"{what}: {type(error).__name__}: {error}") from error


def _await_late(seconds: float) -> None:
    """An attempt that was left behind ends before the next one begins: Ray connects a process once."""
    global _late
    if _late is not None:
        _late.join(seconds)
        if _late.is_alive():
            raise NoWorkers(f"an earlier attempt to connect to Ray is under way, {seconds:g} s later, too")
        _late = None
