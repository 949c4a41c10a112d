"""Whole programs with a pool on Ray: their functions, forks, own connections and ends, and heads that go away."""

from pathlib import Path

import pytest

from .programs import run

pytestmark = pytest.mark.ray


def test_a_script_that_forks_goes_on_and_leaves_its_pool_open(tmp_path: Path) -> None:
    """Its functions are found, and the fork is refused. At the end nothing is said of workers that end with it."""
    said = run(tmp_path, """
        async def in_child():
            try:
                await add(3)
            except NoWorkers as error:
                print("refused", "is a fork" in str(error))

        def forks():
            # Out of any loop: the child has one of its own.
            if (child := os.fork()) == 0:
                asyncio.run(in_child())
                sys.stdout.flush()
                os._exit(0)  # as multiprocessing does
            print("child", os.waitpid(child, 0)[1])

        async def once():
            print(await add(1, 2))

        if __name__ == "__main__":
            asyncio.run(once())
            sys.stdout.flush()
            forks()
            asyncio.run(once())
            time.sleep(2.5)  # real: the pool looks at its head meanwhile
            print("end")
    """)  # fmt: skip
    assert (said.code, said.out) == (0, ["3", "refused True", "child 0", "3", "end"]), said.err
    assert said.quiet, said.err
    assert "is lost" not in said.err


def test_a_connection_and_actors_that_are_not_the_pools_live_on(tmp_path: Path) -> None:
    said = run(tmp_path, """
        async def main():
            import ray

            ray.init(address, logging_level="ERROR")

            @ray.remote(num_cpus=0)
            class Other:
                def name(self):
                    return "other"

            other = Other.options(name="other", lifetime="detached", namespace="others").remote()
            print(ray.get(other.name.remote()))
            async with pool:
                print(await add(1))
            print(ray.is_initialized(), ray.get(other.name.remote()))
            print(await add(2))
            await pool._close(10)
            ray.kill(other)
            ray.shutdown()
            print("end")

        if __name__ == "__main__":
            asyncio.run(main())
    """)  # fmt: skip
    assert (said.code, said.out) == (0, ["other", "2", "True other", "3", "end"]), said.err
    assert said.quiet, said.err
