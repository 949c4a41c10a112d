"""A small strace for Linux: `python tracing.py PROGRAM ARGS...` prints what a program writes, syncs and renames."""

import ctypes
import json
import os
import platform
import signal
import sys

#: The numbers of the system calls that are looked for.
CALLS: dict[str, dict[int, str]] = {
    "x86_64": {1: "write", 74: "fsync", 75: "fsync", 82: "rename", 264: "renameat", 316: "renameat"},
    "aarch64": {64: "write", 82: "fsync", 83: "fsync", 38: "renameat", 276: "renameat"},
}
TRACEME, SETOPTIONS, SYSCALL, GET_SYSCALL_INFO = 0, 0x4200, 24, 0x420E
#: Mark the stops at system calls, follow threads, and kill the program if we end.
OPTIONS = 0x1 | 0x8 | 0x100000
ALL_THREADS = 0x40000000
AT_SYSCALL = signal.SIGTRAP | 0x80
ENTRY = 1


class Info(ctypes.Structure):
    """A system call as ptrace reports it."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("at", ctypes.c_uint64 * 2),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("rest", ctypes.c_uint64 * 4),
    )


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int | None, data: object) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def text_at(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return os.fsdecode(memory.read(4096).split(b"\0")[0])


def event(pid: int) -> list[str] | None:
    """The call that the thread is about to make, if it is one of those."""
    info = Info()
    ptrace(GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.byref(info))
    name = CALLS[platform.machine()].get(info.number)
    if info.op != ENTRY or name is None:
        return None
    if name in ("write", "fsync"):
        return [name, os.readlink(f"/proc/{pid}/fd/{info.arguments[0]}")]
    first, second = (0, 1) if name == "rename" else (1, 3)
    return ["rename", text_at(pid, info.arguments[first]), text_at(pid, info.arguments[second])]


def trace(argv: list[str]) -> int:
    main = os.fork()
    if not main:
        ptrace(TRACEME, 0, None, None)
        os.execv(argv[0], argv)
    os.waitpid(main, 0)
    ptrace(SETOPTIONS, main, None, OPTIONS)
    known, pid, deliver = {main}, main, 0
    while True:
        ptrace(SYSCALL, pid, None, deliver)
        pid, status = os.waitpid(-1, ALL_THREADS)
        while not os.WIFSTOPPED(status):
            if pid == main:
                return os.waitstatus_to_exitcode(status)
            pid, status = os.waitpid(-1, ALL_THREADS)
        deliver, stop = 0, os.WSTOPSIG(status)
        if stop == AT_SYSCALL:
            if found := event(pid):
                print(json.dumps(found))
        elif stop != signal.SIGTRAP and pid in known:
            deliver = stop
        known.add(pid)  # a new thread's first stop is no signal of its own


if __name__ == "__main__":
    sys.exit(trace(sys.argv[1:]))
