"""An LLM gateway: hedged, streamed, a ladder of upstreams, priorities in a rate limit.

`python examples/gateway/models.py &` starts two models, then `python examples/gateway/main.py [QUESTIONS]` asks: some
questions at a time, one in four of them streamed. Prints who has answered how many, and what could not be had.
"""

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256
from os import environ

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Hedge,
    Idle,
    Priority,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    amap,
    effect,
    http,
    priority,
    run,
    stream,
)
from mountain_runtime.errors import ShuttingDown

big = http.Client(environ.get("BIG_MODEL", "http://127.0.0.1:8001"))
small = http.Client(environ.get("SMALL_MODEL", "http://127.0.0.1:8002"))
per_tenant = RateLimit(60, per=60, key=lambda tenant, prompt: tenant, name="tenants")


def key(prompt: str) -> dict[str, str]:
    """The same question twice is one question: a model that may have begun is asked again."""
    return {"Idempotency-Key": sha256(prompt.encode()).hexdigest()}


@effect(Timeout(30), CircuitBreaker(name="small"), Retry(on=http.transient))
async def ask_small(tenant: str, prompt: str) -> str:
    answer = await small.post("/v1", json={"tenant": tenant, "q": prompt}, headers=key(prompt))
    return str(answer.json()["text"])


@effect(
    Timeout(60),
    Fallback(ask_small, on=Exception),
    CircuitBreaker(name="big"),
    Retry(on=http.transient, attempts=3),
    per_tenant,
    Hedge(percentile=0.95),
)
async def ask(tenant: str, prompt: str) -> str:
    answer = await big.post("/v1", json={"tenant": tenant, "q": prompt}, headers=key(prompt))
    return str(answer.json()["text"])


@stream(Timeout(300), Retry(on=http.transient), ConcurrencyLimit(8), per_tenant, Idle(10))
async def tokens(tenant: str, prompt: str) -> AsyncIterator[str]:
    async with big.open("POST", "/v1/stream", json={"tenant": tenant, "q": prompt}, headers=key(prompt)) as body:
        async for line in body.lines():
            yield str(json.loads(line)["token"])


async def chat(tenant: str, prompt: str) -> None:
    with priority(Priority.HIGH):
        async with tokens(tenant, prompt) as out:
            async for token in out:
                print(token, end="", flush=True)


async def answered_by(number: int) -> str:
    """The model that has answered it, for one of ten tenants."""
    tenant, prompt = f"tenant {number % 10}", str(number)
    try:
        if number % 4:
            return (await ask(tenant, prompt)).partition(":")[0]
        async with tokens(tenant, prompt) as out:
            return f"stream of {len([token async for token in out])}"
    except ShuttingDown:
        raise
    except Exception as error:
        print(f"{number}: {error!r}", file=sys.stderr)
        return "no answer"


async def main(count: int) -> int:
    """1 where some question had no answer."""
    answered = Counter[str]()
    async with amap(answered_by, range(count), limit=8) as answers:
        async for _, who in answers:
            answered[who] += 1
    print(*(f"{who}: {number}" for who, number in sorted(answered.items())), sep="\n")
    return 1 if answered["no answer"] else 0


if __name__ == "__main__":

    async def job(rt: Runtime) -> int:
        try:
            return await main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
        except ShuttingDown:
            return 130

    sys.exit(run(job))
