"""A small shop as one process: orders over HTTP, a SQLite store, a label printer beside it, shipping in the background.

An order is accepted when it is in the store, and answered then. At SIGTERM or Ctrl-C no more are taken, those on their
way are answered, and the worker ships what it has. Then the services stop, each when it is not needed any more. What
came too late to be shipped is shipped after the next start.
"""

import argparse
import asyncio
import logging
import os
import socket
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from mountain_runtime import (
    ConcurrencyLimit,
    Key,
    Retry,
    Runtime,
    Shutdown,
    Timeout,
    blocking,
    constant,
    effect,
    need,
    process,
    run,
    sidecar,
)
from mountain_runtime.errors import Rejected, TimedOut

log = logging.getLogger("host")


# -- the store ------------------------------------------------------------------------------------------------


#: The threads take turns at SQLite: a connection has one statement at a time.
turns = ConcurrencyLimit(1, name="database")


class Store:
    """Orders in SQLite. Each statement commits by itself, on a thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        #: Set when there may be something to ship.
        self.news = asyncio.Event()

    @blocking(Timeout(5), turns)
    def add(self, item: str) -> int:
        """The number of a new order."""
        row = self._database.execute("insert into orders (item) values (?) returning number", (item,)).fetchone()
        return int(row[0])

    @blocking(Timeout(5), turns)
    def label(self, number: int) -> tuple[str | None] | None:
        """The label of an order, None while it has none, in a tuple if there is such an order at all."""
        found: tuple[str | None] | None = self._database.execute(
            "select label from orders where number = ?", (number,)
        ).fetchone()
        return found

    @blocking(Timeout(5), turns)
    def unshipped(self) -> list[tuple[int, str]]:
        """Some of the orders without a label, the oldest first."""
        return self._database.execute("select number, item from orders where label is null limit 10").fetchall()

    @blocking(Timeout(5), turns)
    def ship(self, number: int, label: str) -> None:
        """An order has its label."""
        self._database.execute("update orders set label = ? where number = ?", (label, number))


@asynccontextmanager
async def open_store(path: Path) -> AsyncGenerator[Store]:
    """The store in a file, closed when it is not needed any more."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("create table if not exists orders (number integer primary key, item text not null, label text)")
    try:
        yield Store(database)
    finally:
        database.close()
        log.info("store closed")


# -- the label printer ----------------------------------------------------------------------------------------


class Labels:
    """The printer takes one order at a time. It is another program, which is started again when it fails."""

    def __init__(self, printer: process.Process) -> None:
        self._printer = printer
        self.one_at_a_time = ConcurrencyLimit(1, name="printer")

    @effect(Timeout(5), Retry(on=BrokenPipeError, backoff=constant(0.1)))
    async def print(self, number: int, item: str) -> str:
        """A label for an order."""
        async with self.one_at_a_time.slot():
            await self._printer.send(f"{number} {item}".encode())
            while True:
                label = (await self._printer.receive()).decode()
                if label.startswith(f"LABEL-{number:06d} "):  # else the answer to one whose time was up
                    return label


async def switch_off(printer: process.Process) -> None:
    """The polite way to stop it."""
    await printer.send(b"quit")
    await printer.wait()


@asynccontextmanager
async def open_labels() -> AsyncGenerator[Labels]:
    """The printer, ready."""
    printer = sidecar(
        sys.executable,
        Path(__file__).with_name("labels.py"),
        ready=lambda line: "ready" in line,
        stop=switch_off,
        restart=constant(0.1),
    )
    async with printer() as running:
        yield Labels(running)
    log.info("printer off")


# -- the way in -----------------------------------------------------------------------------------------------


@effect(Timeout(10))
async def place(item: str, *, store: Store = need(Store)) -> int:
    """All that an order's acceptance takes: as one effect, it goes on to its end once it was submitted."""
    number = await store.add(item)
    store.news.set()
    return number


@web.middleware
async def statuses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with a status where a handler raises an error."""
    try:
        return await handler(request)
    except TimedOut as error:
        return web.json_response({"error": str(error)}, status=504)
    except Rejected as error:  # ShuttingDown is one: it was not accepted, and may be sent elsewhere
        return web.json_response({"error": str(error)}, status=503, headers={"Retry-After": "1"})


INGRESS = Key[web.AppRunner]("ingress")


@asynccontextmanager
async def open_ingress(rt: Runtime, port: int, *, store: Store = need(Store)) -> AsyncGenerator[web.AppRunner]:
    """The HTTP server. It stops before the store, and its end waits for the answers that are under way."""
    routes = web.RouteTableDef()

    @routes.post("/orders")
    async def order(request: web.Request) -> web.Response:
        item = " ".join((await request.text()).split())
        if not item:
            raise web.HTTPUnprocessableEntity(text="an order needs an item")
        return web.json_response({"number": await rt.submit(place(item))}, status=201)

    @routes.get("/orders/{number:[0-9]+}")
    async def about(request: web.Request) -> web.Response:
        found = await store.label(int(request.match_info["number"]))
        if found is None:
            raise web.HTTPNotFound
        return web.json_response({"label": found[0]})

    @routes.get("/readyz")
    async def ready(request: web.Request) -> web.Response:
        health = rt.health()
        states = {name: each.state for name, each in health.services.items()}
        return web.json_response(states, status=200 if health.ready else 503)

    app = web.Application(middlewares=[statuses])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield runner
    finally:
        await runner.cleanup()
        log.info("ingress closed")


# -- the program ----------------------------------------------------------------------------------------------


@effect
async def ship_all(rt: Runtime, *, store: Store = need(Store), labels: Labels = need(Labels)) -> None:
    """The work in the background: labels for what was ordered, until the shop closes and nothing is left to ship."""
    stopping = asyncio.ensure_future(rt.wait_stopping())
    stopping.add_done_callback(lambda _: store.news.set())
    while True:
        store.news.clear()
        orders = await store.unshipped()
        for number, item in orders:
            await store.ship(number, await labels.print(number, item))
        if not orders:
            if stopping.done():
                return
            await store.news.wait()


def tell_systemd(state: str) -> None:
    """Tells systemd the state of a unit of `Type=notify`. Elsewhere it does nothing."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0: one that is free")
    parser.add_argument("--database", type=Path, default=Path("orders.db"))
    parser.add_argument("--propagation", type=float, default=0, help="seconds for load balancers to hear of the stop")
    return parser.parse_args()


def main() -> None:
    """Runs until a signal, then prints how the shutdown went."""
    arguments = parse()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    runtime = Runtime(shutdown=Shutdown(deadline=25, drain=15, propagation=arguments.propagation))
    runtime.provide(Store, partial(open_store, arguments.database), stop_timeout=5)
    runtime.provide(Labels, open_labels, start_timeout=10, stop_timeout=5)
    runtime.provide(INGRESS, partial(open_ingress, runtime, arguments.port), stop_timeout=10)

    async def shop(rt: Runtime) -> None:
        print("running on http://{}:{}".format(*rt.get(INGRESS).addresses[0]), flush=True)
        tell_systemd("READY=1")
        await ship_all(rt)
        tell_systemd("STOPPING=1")

    run(shop, runtime=runtime)
    print(runtime.report)


if __name__ == "__main__":
    main()
