"""Ray, by the suite of all pools."""

import pytest

from tests.pools.conformance import OfProcesses

pytestmark = pytest.mark.ray


class TestRay(OfProcesses):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _functions(cls) -> None:
        """Once the head is there: the module asks for its address."""
        from . import on_ray

        cls.kinds, cls.on = on_ray.kinds, on_ray.functions
