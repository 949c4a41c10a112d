"""An application of FastAPI that uses effects wherever FastAPI takes a function."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Query, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Runtime,
    Shutdown,
    Timeout,
    amap,
    blocking,
    effect,
    fs,
    gather,
)
from mountain_runtime.errors import CircuitOpen, Rejected, ShuttingDown, TimedOut
from mountain_runtime.testing import open_circuit

#: The app's record of events, for the tests to ask about.
events: list[str] = []
#: The numbers of the requests that a handler has begun with.
begun: list[int] = []
one_at_a_time = ConcurrencyLimit(1, max_waiting=0, name="one")
breaker = CircuitBreaker(name="upstream")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with Runtime(threads=2, shutdown=Shutdown(deadline=5, drain=3)) as rt:
        app.state.rt = rt
        yield
    events.append("closed")
    print(json.dumps({"events": events, "begun": begun, "ok": rt.report is not None and rt.report.ok}))


app = FastAPI(lifespan=lifespan)


# -- errors: one handler a kind, for every route --------------------------------------------------------------


@app.exception_handler(TimedOut)
async def late(request: Request, error: TimedOut) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 504)


@app.exception_handler(Rejected)
async def refused(request: Request, error: Rejected) -> JSONResponse:
    after = {"Retry-After": f"{error.retry_after:.0f}"} if isinstance(error, CircuitOpen) else {}
    return JSONResponse({"detail": type(error).__name__}, 503, headers=after)


@effect(Timeout(0.05))
async def never() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        events.append("never ended")


@app.get("/late")
async def get_late() -> None:
    await never()


@effect(one_at_a_time)
async def exclusive() -> str:
    await asyncio.sleep(0.3)
    return "mine"


@app.get("/exclusive")
async def get_exclusive() -> str:
    return await exclusive()


@effect(breaker)
async def upstream() -> str:
    return "up"


@app.get("/upstream")
async def get_upstream() -> str:
    open_circuit(breaker)
    return await upstream()


# -- effects as dependencies and as handlers ------------------------------------------------------------------


@effect(Timeout(1))
async def page(limit: Annotated[int, Query(ge=1, le=100)] = 10, start: int = 0) -> dict[str, int]:
    await asyncio.sleep(0)
    return {"start": start, "limit": limit}


@effect
async def bounds(of: Annotated[dict[str, int], Depends(page)]) -> tuple[int, int]:
    return of["start"], of["start"] + of["limit"]


@blocking
def upper(name: str) -> str:
    return name.upper()


@app.get("/pages/{name}")
async def get_page(
    between: Annotated[tuple[int, int], Depends(bounds)], name: Annotated[str, Depends(upper)]
) -> dict[str, object]:
    return {"name": name, "between": between}


@app.get("/effects/{number}")
@effect(Timeout(1))
async def get_effect(number: int, request: Request) -> dict[str, object]:
    return {"number": number, "path": request.url.path}


@app.get("/blocking/{number}")
@blocking
def get_blocking(number: int) -> int:
    return number + 1


class Clerk:
    """A dependency that is an object with an effect for a method."""

    @effect
    async def greet(self, who: str = "nobody") -> str:
        return f"hello {who}"


@app.get("/greeting")
async def get_greeting(greeting: Annotated[str, Depends(Clerk().greet)]) -> str:
    return greeting


# -- the runtime of the lifespan ------------------------------------------------------------------------------


@blocking
def on_thread() -> str:
    time.sleep(0.05)  # a thread is taken as long
    return threading.current_thread().name


@app.get("/threads")
async def get_threads() -> list[str]:
    return await gather(on_thread() for _ in range(8))


@app.get("/loop")
async def get_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


@effect
async def deliver(name: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    events.append(f"delivered {name}")


@app.post("/orders/{name}", status_code=202)
async def order(name: str, request: Request, seconds: float = 0.05) -> None:
    request.app.state.rt.submit(deliver(name, seconds))


@app.post("/letters/{name}")
async def letter(name: str, background: BackgroundTasks) -> None:
    background.add_task(deliver, name, 0.05)
    background.add_task(note, name)


@blocking
def note(name: str) -> None:
    events.append(f"noted {name}")


@app.get("/events")
async def get_events() -> list[str]:
    return events


@effect
async def brief() -> None:
    await asyncio.sleep(0.05)


@app.get("/jobs/{number}")
async def work(number: int, request: Request) -> int:
    begun.append(number)
    request.app.state.rt.submit(deliver(str(number), 0.1))
    await brief()
    await fs.stat("/")  # native
    return number


@effect
async def careful() -> None:
    events.append("careful begun")
    try:
        await asyncio.sleep(60)
    finally:
        await brief()  # a cleanup that needs the runtime
        events.append("cleaned up")


@app.get("/careful")
async def get_careful(request: Request) -> None:
    """The work is the runtime's own, which waits for its cleanup, whatever the server does with the handler."""
    await request.app.state.rt.submit(careful())


# -- streams and sockets --------------------------------------------------------------------------------------


#: The squares that are being made.
flying: set[int] = set()


@effect
async def square(number: int) -> int:
    flying.add(number)
    try:
        await asyncio.sleep(0.01)
    finally:
        flying.remove(number)
    return number * number


@app.get("/flying")
async def get_flying() -> list[int]:
    return list(flying)


@app.get("/squares/{count}")
async def squares(count: int) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        try:
            async with amap(square, range(count), limit=4, ordered=True) as results:
                async for number, squared in results:
                    yield f"{number} {squared}\n"
        except ShuttingDown:
            yield "shutting down\n"
        finally:
            events.append(f"squares {count} ended")

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/patient")
async def patient() -> str:
    await deliver("patient", 0.3)
    return "served"


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for number in websocket.iter_text():
        await websocket.send_text(str(await square(int(number))))
    events.append("socket left")
