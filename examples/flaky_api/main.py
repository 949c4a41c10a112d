"""Every policy at work: 5,000 calls of a service that fails, stalls and refuses: `python examples/flaky_api/main.py`.

The service is a server of this program's own. The seed decides who asks for what, how urgent that is, and how the
service answers; when each of it happens is the machine's. Exit codes: 0, every call got an answer; 1, some did not.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

import httpx
from rich.console import Console
from rich.table import Table

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Pipeline,
    Priority,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    Timeout,
    effect,
    priority,
    run,
)
from mountain_runtime.errors import MountainError

CALLS = 5000
#: So many calls come at once, one such crowd after so many seconds.
CROWD, PAUSE = 100, 0.2
#: When the service is down, in seconds since it began.
OUTAGES = ((2.0, 3.0), (6.0, 7.5))


# -- the service ------------------------------------------------------------------------------------------------------


class Service:
    """Answers `GET /items/N` with a price, most of the time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.began = time.monotonic()
        self.asked: Counter[str] = Counter()
        #: How many requests it has met with what.
        self.answered: Counter[str] = Counter()

    def mood(self, path: str) -> str:
        """The outcome of a request: for each item the same, whatever else is going on, unless the service is down."""
        self.asked[path] += 1
        now = time.monotonic() - self.began
        if any(begin <= now < end for begin, end in OUTAGES):
            return "down"
        chance = Random(f"{self.seed} {path} {self.asked[path]}").random()
        return "failed" if chance < 0.02 else "stalled" if chance < 0.03 else "refused" if chance < 0.04 else "fine"


class Connection(asyncio.Protocol):
    """One client's connection to the service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """A request: it has no body, and so comes in one piece."""
        path = data.split(b" ", 2)[1].decode()
        mood = self.service.mood(path)
        self.service.answered[mood] += 1
        if mood != "stalled" and self.transport is not None:
            body = f"the price of {path}".encode()
            answer = HEADS[mood] + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, answer)


LATENCY = 0.01
HEADS = {
    "fine": b"HTTP/1.1 200 OK",
    "failed": b"HTTP/1.1 500 Internal Server Error",
    "down": b"HTTP/1.1 503 Service Unavailable",
    "refused": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1",
}


# -- its client -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Call:
    """One call, and how long it waited before its first request went out; a value from the cache never does."""

    urgency: Priority
    asked: float = field(default_factory=time.monotonic)
    waited: float | None = None


current: ContextVar[Call] = ContextVar("current")
STAND_IN = "no answer"


def transient(error: Exception) -> bool | float:
    """Whether to call again; a number is after how many seconds."""
    match error:
        case httpx.HTTPStatusError(response=answer) if answer.status_code == 429:
            return float(answer.headers["Retry-After"])
        case httpx.HTTPStatusError(response=answer):
            return answer.status_code >= 500
        case _:
            return isinstance(error, httpx.TransportError | TimeoutError)


cache = Cache(ttl=0.5, stale=30)
breaker = CircuitBreaker(name="prices", failure_rate=0.5, window=2, cooldown=0.3)
policies = Pipeline(
    Fallback(lambda error: STAND_IN, on=(httpx.HTTPError, MountainError)),  # nothing helped, and nothing is stale
    Timeout(5),  # the whole call, with its waits
    cache,
    Retry(on=transient, attempts=4, budget=RetryBudget(ratio=0.1, min_per_second=5)),
    breaker,
    ConcurrencyLimit(10, max_waiting=None),  # the urgent ones first
    RateLimit(250, per=1),
    Timeout(0.3),  # each request
    name="prices",
)


@effect(policies)
async def price(client: httpx.AsyncClient, item: int) -> str:
    call = current.get()
    if call.waited is None:
        call.waited = time.monotonic() - call.asked
    answer = await client.get(f"/items/{item}")
    return answer.raise_for_status().text


# -- the calls --------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """The tally of outcomes."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    calls: list[Call] = field(default_factory=list[Call])
    #: When the breaker opened and when it closed again, in seconds since the beginning.
    opened: list[float] = field(default_factory=list[float])
    closed: list[float] = field(default_factory=list[float])


async def ask(client: httpx.AsyncClient, item: int, urgency: Priority, story: Story) -> None:
    call = Call(urgency)
    story.calls.append(call)
    current.set(call)  # this task's own
    try:
        with priority(urgency):
            answer = await price(client, item)
    except Exception as error:  # whatever it is, it is no answer
        story.outcomes[f"lost: {error!r}"] += 1
    else:
        story.outcomes["stood in" if answer == STAND_IN else "answered"] += 1


async def watch(story: Story) -> None:
    """Looks at the breaker now and then."""
    began = time.monotonic()
    closed = True
    while True:
        state = breaker.state()
        if closed != (state == "closed"):
            closed = not closed
            (story.closed if closed else story.opened).append(time.monotonic() - began)
        await asyncio.sleep(0.01)


async def ask_all(client: httpx.AsyncClient, seed: int, story: Story) -> None:
    random = Random(seed)
    watcher = asyncio.create_task(watch(story))
    async with asyncio.TaskGroup() as crowd:
        for number in range(CALLS):
            if number % CROWD == 0:
                await asyncio.sleep(PAUSE)
            item = int(random.paretovariate(0.3)) % 10_000  # some are asked for all the time, most now and then
            urgency = random.choices(list(Priority), weights=[6, 3, 1])[0]
            crowd.create_task(ask(client, item, urgency, story))
    watcher.cancel()


# -- the report -------------------------------------------------------------------------------------------------------


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))] if values else 0.0


def report(story: Story, service: Service, retries: int, took: float, seed: int) -> None:
    out = Console(highlight=False)
    lost = CALLS - story.outcomes["answered"] - story.outcomes["stood in"]
    out.print(f"{CALLS} calls in {took:.1f} s with seed {seed}: {lost} lost\n")

    kept = cache.statistics()
    facts = Table.grid(padding=(0, 3))
    facts.add_row("answered", str(story.outcomes["answered"]))
    facts.add_row("stood in", str(story.outcomes["stood in"]))
    facts.add_row("from the cache", f"{kept['hits']} fresh, {kept['stale_hits']} stale, {kept['misses']} not there")
    facts.add_row("requests", ", ".join(f"{count} {mood}" for mood, count in sorted(service.answered.items())))
    facts.add_row("retries", str(retries))
    facts.add_row("breaker opened", " ".join(f"{at:.1f} s" for at in story.opened))
    facts.add_row("closed again", " ".join(f"{at:.1f} s" for at in story.closed))
    out.print(facts)

    waits = Table("wait", "calls", "p50", "p99", title="\nBefore the first request", title_justify="left", box=None)
    for urgency in reversed(Priority):
        waited = [call.waited for call in story.calls if call.urgency is urgency and call.waited is not None]
        p50, p99 = (f"{quantile(waited, part) * 1000:.0f} ms" for part in (0.5, 0.99))
        waits.add_row(urgency.name.capitalize(), str(len(waited)), p50, p99)
    out.print(waits)
    for outcome, count in story.outcomes.items():
        if outcome.startswith("lost"):
            out.print(f"{count} {outcome}", markup=False)


async def tell(rt: Runtime, seed: int) -> int:
    story, service = Story(), Service(seed)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        began = time.monotonic()
        await ask_all(client, seed, story)
    report(story, service, rt.statistics().effects["price"].retried, time.monotonic() - began, seed)
    return 0 if story.outcomes["answered"] + story.outcomes["stood in"] == CALLS else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="flaky_api", description="Calls a service that fails, stalls and refuses.")
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    return run(lambda rt: tell(rt, seed))


if __name__ == "__main__":
    sys.exit(main())
