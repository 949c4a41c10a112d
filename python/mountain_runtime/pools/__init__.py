"""Pools: workers that effects run on, by `On(pool)` in a function's list.

`Processes` are worker processes of this machine, for work that computes, and for functions that must be stopped however
they behave. `Ray` has its workers on a cluster.
"""

from ._pool import Capabilities, Pool, PoolStatistics
from ._processes import Processes
from ._ray import Ray

__all__ = ["Capabilities", "Pool", "PoolStatistics", "Processes", "Ray"]
