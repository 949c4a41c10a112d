"""Functions on worker processes, for the suite of all pools."""

from mountain_runtime import pools

from . import conforming

kinds = conforming.Pools(
    pools.Processes(2, runtime=conforming.with_store, name="pair"),
    pools.Processes(1, runtime=conforming.with_store, max_waiting=3, name="single"),
    pools.Processes(1, runtime=conforming.fails_to_start, name="broken"),
    pools.Processes(1, runtime=conforming.with_slow_stop, name="slow"),
)
functions = conforming.functions(__name__, kinds)
