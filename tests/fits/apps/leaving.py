"""A handler whose work ends when its client goes away: the recipe of the guide."""

import asyncio
from typing import Any, TypeVar

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from mountain_runtime import Effect, Err, Ok, effect, race

T = TypeVar("T")

#: The app's record of events, for the tests to ask about.
events: list[str] = []
app = FastAPI()


@effect
async def gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Effect[T]) -> T:
    """The value of `work`, which is cancelled, its cleanup awaited, when the client goes away."""
    match await race(work.attempt(Exception), gone(request)):
        case Ok(value=value):
            return value
        case Err(error=error):
            raise error
    raise HTTPException(499)  # it reaches no client


@effect
async def report(seconds: float) -> str:
    events.append("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)  # cleanup that takes a while
        events.append("cleaned up")
        raise
    if not seconds:
        raise ValueError("nothing to report")
    return "a report"


@app.exception_handler(ValueError)
async def wrong(request: Request, error: ValueError) -> Any:
    return JSONResponse({"detail": str(error)}, 422)


@app.get("/report")
async def get_report(request: Request, seconds: float) -> str:
    return await while_connected(request, report(seconds))


@app.post("/report")
async def post_report(request: Request, seconds: float, body: dict[str, Any] = Body()) -> str:  # noqa: B008 - FastAPI's way
    return f"{await while_connected(request, report(seconds))} of {body['of']}"


@app.get("/events")
async def get_events() -> list[str]:
    return events
