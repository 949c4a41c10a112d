"""The work under way, as data and text: each effect, its state, what it waits on, and the stack of its Python code."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, TypedDict, cast

from .._native import Handle, Run
from .stacks import of_frame, of_thread, through

__all__ = ["Dump", "take"]


class EffectUnderWay(TypedDict):
    """One effect of a `Dump`."""

    name: str
    state: Literal["running", "waiting", "backing off", "falling back", "in a thread"]
    on: str | None
    age: float | None
    attempt: int
    task: str | None
    inside: int | None
    stack: list[str]


@dataclass(frozen=True, slots=True)
class Dump:
    """The work under way at one moment, the oldest first, each before what runs inside it.

    Of each: `name`, `state` (running, waiting, backing off, falling back, in a thread), `on` (the policy where it
    waits or which stands in, or None),
    `age` in seconds (None: it holds the loop up at this moment), `attempt`, `task` (the asyncio task in which it runs,
    or None), `inside` (the place in `effects` of the effect in whose code it runs, or None), and `stack`, lines of
    Python with the outermost first.
    """

    effects: tuple[EffectUnderWay, ...]

    def __str__(self) -> str:
        count = len(self.effects)
        waiting = sum(each["state"] in ("waiting", "backing off") for each in self.effects)
        are, wait = ("effect is", "waits") if count == 1 else ("effects are", "wait" if waiting != 1 else "waits")
        lines = [f"{count} {are} under way, {waiting} of which {wait}"]
        depth: list[int] = []
        for each in self.effects:
            depth.append(0 if each["inside"] is None else depth[each["inside"]] + 1)
            indent = "  " * depth[-1]
            on = f" on {each['on']}" if each["on"] else ""
            attempt = f", attempt {each['attempt']}" if each["attempt"] > 1 else ""
            task = f", in {each['task']}" if each["task"] else ""
            age = f", {each['age']:.3f} s old" if each["age"] is not None else ""
            lines.append(f"{indent}{_printable(each['name'])}: {each['state']}{on}{age}{attempt}{task}")
            lines += [f"{indent}    {line}" for line in each["stack"]]
        return "\n".join(lines)


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)[1:-1]


def take(
    loop: asyncio.AbstractEventLoop | None,
    at_work: FrameType | None,
    owned: Iterable[Handle[Any] | asyncio.Task[Any]],
    threads: Iterable[tuple[int, str, float]],
) -> Dump:
    """The effects that tasks of `loop` await, the calls among the `owned` work, the blocking functions on `threads`.

    `at_work` is the innermost frame of the loop's thread, for a look from outside: a task in its step awaits nothing.
    """
    found: list[list[EffectUnderWay]] = []
    seen: set[int] = set()
    for task in _tasks(loop):
        if chain := _of_task(task, seen):
            found.append(chain)
    for handle in owned:
        if isinstance(handle, Handle) and id(handle) not in seen and (each := _of_handle(handle)) is not None:
            found.append([each])
    found.sort(key=lambda chain: -(chain[0]["age"] or 0))
    if at_work is not None and (current := _in_its_step(loop)) is not None:
        name, stack = str(getattr(current.get_coro(), "__name__", "task")), of_frame(at_work)
        found.insert(0, [_entry(name, "running", None, None, 0, current.get_name(), stack, inside=None)])
    effects = _numbered(found)
    for ident, name, age in threads:
        _in_thread(effects, name, age, of_thread(ident))
    return Dump(tuple(effects))


def _in_thread(effects: list[EffectUnderWay], name: str, age: float, stack: list[str]) -> None:
    """Adds a blocking function to the call of its name that does nothing else, or by itself if its caller has left."""
    for each in effects:
        if each["name"] == name and each["state"] == "running" and not each["stack"]:
            each["state"], each["stack"] = "in a thread", stack
            return
    effects.append(_entry(name, "in a thread", None, age, 0, None, stack, inside=None))


def _tasks(loop: asyncio.AbstractEventLoop | None) -> list["asyncio.Task[Any]"]:
    if loop is None or loop.is_closed():
        return []
    try:
        return sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    except RuntimeError:  # from another thread, tasks came and went meanwhile
        return []


def _in_its_step(loop: asyncio.AbstractEventLoop | None) -> "asyncio.Task[Any] | None":
    return None if loop is None or loop.is_closed() else asyncio.current_task(loop)


def _of_task(task: "asyncio.Task[Any]", seen: set[int]) -> list[EffectUnderWay]:
    """The effects that a task awaits, each inside the one before. The innermost has what is left of the stack."""
    chain: list[EffectUnderWay] = []
    stack: list[str] = []
    for awaited, line in through(task):
        if line is not None:
            stack.append(line)
        if isinstance(awaited, Run):
            under_way = awaited._under_way
            if under_way is None:  # it is in its step, and so is all inside
                break
            name, age, state, on, attempt = under_way
            if chain:
                chain[-1]["stack"], stack = stack, []
            chain.append(_entry(name, state, on, age, attempt, task.get_name(), stack, inside=None))
            stack = chain[-1]["stack"]
        elif isinstance(awaited, Handle):
            seen.add(id(cast(object, awaited)))
            if (each := _of_handle(awaited)) is not None and not (chain and chain[-1]["name"] == each["name"]):
                each["task"] = task.get_name()
                chain.append(each)
    return chain


def _of_handle(handle: Any) -> EffectUnderWay | None:
    """A native call, or a thread's."""
    under_way = handle._under_way
    if under_way is None:
        return None
    name, age, state, on = under_way
    return _entry(name, state, on, age, 0, None, [], inside=None)


def _entry(
    name: str,
    state: Literal["running", "waiting", "backing off", "falling back", "in a thread"],
    on: str | None,
    age: float | None,
    attempt: int,
    task: str | None,
    stack: list[str],
    inside: int | None,
) -> EffectUnderWay:
    return {
        "name": name,
        "state": state,
        "on": on,
        "age": age,
        "attempt": attempt,
        "task": task,
        "inside": inside,
        "stack": stack,
    }


def _numbered(chains: list[list[EffectUnderWay]]) -> list[EffectUnderWay]:
    effects: list[EffectUnderWay] = []
    for chain in chains:
        inside = None
        for each in chain:
            each["inside"] = inside
            inside = len(effects)
            effects.append(each)
    return effects
