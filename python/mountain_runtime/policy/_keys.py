"""Keys that are given by hand: a policy with `key=` has one state for each, and one without has a single state."""

from typing import Any

from ..errors import ConfigError

__all__ = ["check_key", "wrong_key"]


def check_key(policy: Any, key: object, call: str) -> None:
    """A ConfigError if a policy with `key=` gets no key in `call`, or one without gets one."""
    if (key is None) is not (policy._key is None):
        raise wrong_key(policy, key, call)


def wrong_key(policy: object, key: object, call: str) -> ConfigError:
    """The error of `check_key`."""
    if key is None:
        named = f"{call[:-1]}{'' if call.endswith('()') else ', '}key=...)"
        return ConfigError(f"{policy!r}: {call} is for one key, and got none. Name it: {named}")
    return ConfigError(
        f"{policy!r}: {call} got the key {key!r}, and without key= there is one state for all calls. Leave the key "
        "out, or give the policy a key="
    )
