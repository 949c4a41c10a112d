"""An application of FastAPI whose lifespan starts services, with endpoints for probes."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from mountain_runtime import Health, Runtime, Shutdown, effect, need

said: list[str] = []


class Store:
    """The number of each thing in stock."""

    def __init__(self) -> None:
        self.counts = {"nails": 3}


class Desk:
    """Needs the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @effect
    async def count(self, thing: str, *, store: Store = need(Store)) -> int:
        assert store is self._store
        return store.counts[thing]


@asynccontextmanager
async def open_store() -> AsyncGenerator[Store]:
    said.append("store opened")
    yield Store()
    said.append("store closed")


@asynccontextmanager
async def open_desk(store: Store = need(Store)) -> AsyncGenerator[Desk]:
    said.append("desk opened")
    yield Desk(store)
    said.append("desk closed")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    rt = Runtime(shutdown=Shutdown(deadline=5, drain=3)).provide(Desk, open_desk).provide(Store, open_store)
    async with rt:
        app.state.rt = rt
        yield
    print(json.dumps({"said": said, "report": rt.report and json.loads(rt.report.to_json())}))


app = FastAPI(lifespan=lifespan)


@effect
async def counted(thing: str, least: int = 0, *, desk: Desk = need(Desk)) -> int:
    """FastAPI fills `thing` and `least` from the request, the runtime `desk`."""
    return max(least, await desk.count(thing))


@app.get("/things/{thing}")
async def get_thing(count: Annotated[int, Depends(counted)]) -> int:
    return count


@app.get("/effects/{thing}")
@effect
async def get_effect(thing: str, *, store: Store = need(Store)) -> int:
    return store.counts[thing]


@app.get("/plain/{thing}")
async def get_plain(thing: str, request: Request) -> int:
    desk: Desk = request.app.state.rt.get(Desk)  # a plain handler asks the runtime
    return await desk.count(thing)


@app.get("/livez")
async def live(request: Request, response: Response) -> bool:
    health: Health = request.app.state.rt.health()
    response.status_code = 200 if health.live else 503
    return health.live


@app.get("/readyz")
async def ready(request: Request, response: Response) -> dict[str, object]:
    health: Health = request.app.state.rt.health()
    response.status_code = 200 if health.ready else 503
    return asdict(health)
