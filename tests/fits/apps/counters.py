"""An application of aiohttp, started by `web.run_app`: a runtime in its cleanup context."""

import asyncio
import json
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler

from mountain_runtime import ConcurrencyLimit, Runtime, Shutdown, Timeout, amap, blocking, effect, gather
from mountain_runtime.errors import Rejected, TimedOut

events: list[str] = []
begun: list[int] = []
routes = web.RouteTableDef()
RUNTIME = web.AppKey("RUNTIME", Runtime)
one_at_a_time = ConcurrencyLimit(1, max_waiting=0, name="one")


async def runtime(app: web.Application) -> AsyncIterator[None]:
    async with Runtime(threads=2, shutdown=Shutdown(deadline=5, drain=3)) as rt:
        app[RUNTIME] = rt
        yield
    events.append("closed")
    print(json.dumps({"events": events, "begun": begun, "ok": rt.report is not None and rt.report.ok}))


@web.middleware
async def statuses(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except TimedOut as error:
        return web.json_response({"detail": str(error)}, status=504)
    except Rejected as error:
        return web.json_response({"detail": type(error).__name__}, status=503)


@effect(Timeout(70))
async def nap(name: str, seconds: float) -> str:
    try:
        await asyncio.sleep(seconds)
    finally:
        events.append(name)
    return name


@blocking
def double(number: int) -> int:
    return number * 2


@routes.get("/late")
async def late(request: web.Request) -> web.Response:
    await nap("late", 60).under(Timeout(0.05))
    return web.Response()


@routes.get("/exclusive")
async def exclusive(request: web.Request) -> web.Response:
    return web.Response(text=await nap("mine", 0.3).under(one_at_a_time))


@routes.get("/effect/{number}")
@effect(Timeout(1))
async def handler(request: web.Request) -> web.Response:
    number = int(request.match_info["number"])
    return web.json_response(await gather(double(number), nap("both", 0)))


@routes.view("/view")
class View(web.View):
    """A view whose method is an effect."""

    @effect
    async def get(self) -> web.Response:
        return web.Response(text=await nap("view", 0))


@routes.get("/patient")
async def patient(request: web.Request) -> web.Response:
    return web.Response(text=await nap("patient", 0.3))


@routes.get("/stream/{count}")
async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    count = int(request.match_info["count"])
    try:
        async with amap(lambda number: nap(str(number), 0.01), range(count), limit=4, ordered=True) as results:
            async for _, name in results:
                await response.write(f"{name}\n".encode())
    except ConnectionResetError:
        pass  # the client has left
    finally:
        events.append(f"stream {count} ended")
    return response


@routes.get("/socket")
async def socket(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for message in answer:
        await answer.send_str(str(await double(int(message.data))))
    events.append("socket left")
    return answer


@routes.get("/jobs/{number}")
async def work(request: web.Request) -> web.Response:
    number = int(request.match_info["number"])
    begun.append(number)
    _ = request.app[RUNTIME].submit(nap(f"delivered {number}", 0.1))
    await asyncio.sleep(0.05)
    return web.json_response(await double(number))


@routes.get("/events")
async def told(request: web.Request) -> web.Response:
    return web.json_response(events)


def main() -> None:
    app = web.Application(middlewares=[statuses])
    app.add_routes(routes)
    app.cleanup_ctx.append(runtime)
    web.run_app(app, host="127.0.0.1", port=0, shutdown_timeout=5)


if __name__ == "__main__":
    main()
