"""After a fork the child works afresh, what is the parent's says so, and the parent is fine."""

import pytest

from . import forks
from .support import Program, execute

pytestmark = pytest.mark.processes


def test_child_and_parent_both_work() -> None:
    """B4; more often in the stress tests."""
    forks.check(times=8)


def test_a_child_that_leaves_through_the_interpreters_exit() -> None:
    """B4: with all its finalizers, which meet what is the parent's."""
    ended = Program(forks.FORKS.replace("asyncio.run(body())\n", "", 1), "exit").end().quietly()
    assert ended.lines == ["0", "8"]


def test_children_of_multiprocessing_work() -> None:
    ended = execute(
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
        @effect
        async def work(n):
            await _native.noop()
            return n * n
        def square(n):
            return asyncio.run(work(n))
        assert square(3) == 9
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(square, range(5)))
        print(square(5))
        """
    )
    assert ended.quietly().lines == ["[0, 1, 4, 9, 16]", "25"]
