"""Functions on a cluster of Ray, for the suite of all pools. Imported once the head is there, and by its workers."""

import os

from mountain_runtime import pools
from tests.pools import conforming

address = os.environ.get("MOUNTAIN_TEST_HEAD", "127.0.0.1:1")
part = {"CPU": 0.25}  # the head has two: there is room for all of these
kinds = conforming.Pools(
    pools.Ray(address, workers=2, resources=part, runtime=conforming.with_store, name="ray-pair"),
    pools.Ray(address, resources=part, runtime=conforming.with_store, max_waiting=3, name="ray-one"),
    pools.Ray(address, resources=part, runtime=conforming.fails_to_start, name="ray-broken"),
    pools.Ray(address, resources=part, runtime=conforming.with_slow_stop, name="ray-slow"),
)
functions = conforming.functions(__name__, kinds)
