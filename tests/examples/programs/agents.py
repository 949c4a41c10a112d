"""A hundred agents of three tenants at one model, whose server allows each tenant so many requests and tokens."""

import asyncio
import random
from dataclasses import dataclass
from operator import attrgetter

import httpx

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Err,
    Ok,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    Timeout,
    deadline,
    effect,
    exponential,
    gather,
    process,
)
from mountain_runtime.errors import TimedOut


@dataclass(frozen=True)
class Prompt:
    tenant: str
    text: str

    @property
    def tokens(self) -> int:
        return len(self.text) // 4 + 500


def transient(e: Exception) -> bool | float:
    match e:
        case httpx.HTTPStatusError(response=r) if r.status_code == 429:
            after = r.headers.get("retry-after", "")
            return float(after) if after.isdigit() else True
        case httpx.HTTPStatusError(response=r):
            return r.status_code >= 500
        case _:
            return isinstance(e, httpx.TransportError)


requests = RateLimit(60, per=60, key=attrgetter("tenant"))
tokens = RateLimit(100_000, per=60, burst=100_000, key=attrgetter("tenant"), cost=attrgetter("tokens"))
model = Pipeline(
    Timeout(120),
    Retry(on=transient, attempts=6, backoff=exponential(1, max=30), budget=RetryBudget(ratio=0.2)),
    CircuitBreaker(failure_rate=0.5),
    ConcurrencyLimit(8, key=attrgetter("tenant")),
    requests,
    tokens,  # two of a kind: keywords cannot say it
    Timeout(30),
    name="model",
)
client = httpx.AsyncClient()


@effect(model)
async def complete(p: Prompt) -> str:
    r = await client.post("https://llm.example/v1", json={"q": p.text})
    r.raise_for_status()
    body = r.json()
    tokens.charge(body["usage"]["total_tokens"] - p.tokens, key=p.tenant)
    return str(body["text"])


@effect(Timeout(20))
async def grep(pattern: str) -> str:
    done = await process.run("rg", "-n", pattern, check=False)
    return done.stdout.decode()


async def agent(tenant: str, goal: str) -> str:
    async with deadline(300):
        for _ in range(10):
            plan, code = await gather(complete(Prompt(tenant, goal)), grep(goal.split()[0]))
            match await complete(Prompt(tenant, plan + code)).attempt(TimedOut, httpx.HTTPStatusError):
                case Ok(value=text):
                    return text
                case Err(error=e):
                    goal = f"{goal} (last try failed: {e})"
    raise RuntimeError("gave up")


async def main() -> None:
    async with Runtime(), asyncio.TaskGroup() as tg:
        for i in range(100):
            tg.create_task(agent(f"t{i % 3}", f"goal {random.random()}"))


asyncio.run(main())
