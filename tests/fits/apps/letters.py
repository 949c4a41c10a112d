"""An application of Starlette: state of its lifespan, middleware of both kinds, and endpoints that await effects."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from mountain_runtime import Runtime, Shutdown, Timeout, blocking, effect
from mountain_runtime.errors import TimedOut

events: list[str] = []


class State(TypedDict):
    """The state that the lifespan hands to every request."""

    rt: Runtime


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[State]:
    async with Runtime(threads=1, shutdown=Shutdown(deadline=5, drain=3)) as rt:
        yield {"rt": rt}
    events.append("closed")
    print(json.dumps({"events": events, "report": rt.report and json.loads(rt.report.to_json())}))


@effect(Timeout(70))
async def nap(name: str, seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        events.append(f"{name} cancelled")
        raise
    events.append(f"{name} slept")
    return name


@blocking
def length(text: str) -> int:
    return len(text)


async def plain(request: Request) -> Response:
    return PlainTextResponse(await nap("plain", float(request.query_params.get("seconds", 0))))


async def late(request: Request) -> Response:
    await nap("late", 60).under(Timeout(0.05))
    return Response()


async def scoped(request: Request) -> Response:
    """anyio's scopes see an effect as they see a coroutine."""
    with anyio.move_on_after(0.05) as scope:
        await nap("scoped", 60)
    async with anyio.create_task_group() as group:
        group.start_soon(nap, "grouped", 0.01)
    return JSONResponse({"cancelled": scope.cancelled_caught, "thread": await length("four")})


class Box(HTTPEndpoint):
    """An endpoint whose method is an effect."""

    @effect(Timeout(1))
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(await nap("box", 0))


async def later(request: Request) -> Response:
    return Response(status_code=202, background=BackgroundTask(nap, "later", 0.05))


async def submitted(request: Request) -> Response:
    request.state.rt.submit(nap("submitted", 0.2))
    return Response(status_code=202)


async def ticks(request: Request) -> Response:
    async def forever() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await nap("tick", 0.02)
        finally:
            events.append("ticks ended")

    return StreamingResponse(forever())


async def told(request: Request) -> Response:
    return JSONResponse(events)


async def socket(websocket: WebSocket) -> None:
    """A client that leaves is told by `receive` only, so the handler listens beside its work."""
    await websocket.accept()
    async with anyio.create_task_group() as group:
        group.start_soon(nap, "socket", 60)
        await websocket.send_text("working")
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            group.cancel_scope.cancel()


class Counting(BaseHTTPMiddleware):
    """The kind of middleware that runs the application in a task of its own, within a scope of anyio's."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Nap"] = await nap("middleware", 0)
        return response


async def timed_out(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 504)


app = Starlette(
    lifespan=lifespan,
    middleware=[Middleware(Counting)],
    exception_handlers={TimedOut: timed_out},
    routes=[
        Route("/plain", plain),
        Route("/late", late),
        Route("/scoped", scoped),
        Route("/box", Box),
        Route("/later", later, methods=["POST"]),
        Route("/submitted", submitted, methods=["POST"]),
        Route("/ticks", ticks),
        Route("/events", told),
        Route("/effect", nap),  # does not work: to Starlette, what is no function of Python's is an application
        WebSocketRoute("/socket", socket),
    ],
)
