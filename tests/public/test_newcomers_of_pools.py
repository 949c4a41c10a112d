"""The same for those who begin with pools: the habits of concurrent.futures and multiprocessing."""

from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import On, blocking, effect, pools
from mountain_runtime.errors import ConfigError

cpu: Any = pools.Processes(2, name="cpu")


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ("max_workers", "write workers="),
        ("processes", "write workers="),
        ("max_tasks_per_child", "write max_calls="),
        ("maxtasksperchild", "write max_calls="),
        ("initializer", "write runtime=, a function that makes a Runtime"),
        ("mp_context", "each worker is a new interpreter"),
        ("num_cpus", r"write workers=, and for what each takes of a node of Ray's resources=\{'CPU': n\}"),
        ("num_gpus", r"write resources=\{'GPU': n\}"),
        ("runtime_env", r"call ray.init\(address, runtime_env=...\) before"),
        ("timeout", r"write Timeout\(seconds\) before On\(pool\)"),
    ],
)
def test_arguments_of_other_pools(given: str, way: str) -> None:
    for pool in (pools.Processes, pools.Ray):
        with pytest.raises(TypeError, match=rf"{pool.__name__}\(\) got an unexpected .*'{given}': {way}"):
            pool(**{given: 1})
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'unheard'$"):
        pools.Processes(unheard=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("submit", r"as @blocking\(On\(pool\)\), and await its call"),
        ("apply_async", r"as @blocking\(On\(pool\)\), and await its call"),
        ("map", r"`async with amap\(function, items\) as results:`"),
        ("imap_unordered", r"`async with amap\(function, items\) as results:`"),
        ("shutdown", "it ends with `async with pool:`"),
        ("close", "it ends with `async with pool:`"),
    ],
)
def test_methods_of_other_pools(name: str, way: str) -> None:
    with pytest.raises(AttributeError, match=f"'Processes' object has no attribute '{name}': .*{way}"):
        getattr(cpu, name)


@pytest.mark.parametrize(
    ("resources", "way"),
    [
        (["GPU"], r"Ray\(resources=\['GPU'\]\): must be numbers by their names, such as \{'GPU': 1\}"),
        ({"": 1}, "must be numbers by their names"),
        ({"CPU": -1}, r"Ray\(resources\['CPU'\]=-1\): must be a number, 0 or more"),
        ({"CPU": "two"}, r"Ray\(resources\['CPU'\]='two'\): must be a number"),
    ],
)
def test_resources_that_no_node_has(resources: Any, way: str) -> None:
    with pytest.raises(ConfigError, match=way):
        pools.Ray(resources=resources)


def a_function() -> None: ...


@pytest.mark.parametrize(
    ("wrong", "way"),
    [
        (lambda: On(pools.Processes), r"On\(Processes\): must be a pool, such as pools.Processes\(\)"),  # type: ignore[arg-type]
        (lambda: On("cpu"), r"On\('cpu'\): must be a pool, such as pools.Processes\(\)"),  # type: ignore[arg-type]
        (lambda: effect(cpu), r"neither a policy nor a function: for a pool write effect\(On\(pool\)\)"),
        (lambda: blocking(cpu), r"neither a policy nor a function: for a pool write blocking\(On\(pool\)\)"),
        (lambda: blocking(On(cpu), On(cpu))(a_function), "a call runs in one place"),
    ],
)
def test_a_pool_in_the_place_of_a_policy(wrong: Callable[[], object], way: str) -> None:
    with pytest.raises(ConfigError, match=way):
        wrong()
