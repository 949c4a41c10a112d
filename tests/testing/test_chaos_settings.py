"""The settings of chaos: those that cannot work, and how they are shown."""

from typing import Any

import pytest

from mountain_runtime import Timeout, effect
from mountain_runtime.errors import ConfigError
from mountain_runtime.testing import chaos


class Coded(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


async def answer() -> int:
    return 42


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, r"chaos\(\): does nothing"),
        ({"fail": 0.5, "hang": 0.3, "slow": 0.3, "delay": 1}, r"chaos\(fail=0.5, hang=0.3, slow=0.3\): .* at most 1"),
        ({"fail": 1.1}, r"fail=1.1\): must be a part of the calls, from 0 to 1"),
        ({"fail": -0.1}, "fail=-0.1"),
        ({"hang": float("nan")}, "hang=nan"),
        ({"slow": "0.1", "delay": 1}, r"convert a text by float"),
        ({"slow": 0.1}, r"chaos\(slow=0.1\): needs delay="),
        ({"fail": 0.1, "delay": 1}, r"chaos\(delay=1\): needs slow="),
        ({"slow": 0.1, "delay": -1}, r"delay=-1\): must be seconds"),
        ({"slow": 0.1, "delay": (2, 1)}, "the least comes first"),
        ({"slow": 0.1, "delay": (1, 2, 3)}, "the least and the most"),
        ({"fail": 0.1, "seed": 0.5}, r"seed=0.5\): must be a whole number"),
        ({"fail": 0.1, "seed": True}, "seed=True"),
        ({"fail": 0.1, "error": "ConnectionError"}, r"error='ConnectionError'\): must be a subclass of Exception"),
        ({"fail": 0.1, "error": KeyboardInterrupt}, "error=KeyboardInterrupt"),
        ({"fail": 0.1, "error": ValueError("x")}, r"write error=lambda: ValueError"),
        ({"fail": 0.1, "error": Coded}, r"cannot be made: .* Write error=lambda: Coded"),
        ({"fail": 0.1, "error": lambda error: error}, r"is called without arguments"),
        ({"fail": 0.1, "error": answer}, r"must be a plain function"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        chaos(**settings)


def test_parts_that_add_up_to_one() -> None:
    # As floats, the last ones add up to more.
    for fail, hang, slow in ((0.7, 0.2, 0.1), (0.5, 0.25, 0.25), (1 / 49 * 49, 0, 1e-10)):
        chaos(fail=fail, hang=hang, slow=slow, delay=1)


def test_it_is_no_block_and_stands_in_a_stack_once() -> None:
    faults = chaos(fail=0.5)
    block: Any = faults
    with pytest.raises(ConfigError, match=r"write `with faults.on\(\):`"):
        block.__enter__()
    with pytest.raises(ConfigError, match="stands twice"):
        effect(faults, Timeout(1), faults)(answer)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"fail": 1}, "chaos(fail=1)"),
        ({"fail": 0.1, "error": KeyError, "seed": -3}, "chaos(fail=0.1, error=KeyError, seed=-3)"),
        ({"hang": 0.25}, "chaos(hang=0.25)"),
        ({"slow": 0.5, "delay": 0.1}, "chaos(slow=0.5, delay=0.1)"),
    ],
)
def test_it_is_shown_as_it_is_written(settings: dict[str, Any], text: str) -> None:
    assert repr(chaos(**settings)) == text
