"""The fate of a span, as far as the provider's sampler lets that be known from its parent alone."""

from typing import Any

__all__ = ["ASKED", "DROPPED", "KEPT", "fates"]

#: It is not made, it is, or its sampler says.
DROPPED, KEPT, ASKED = range(3)


def fates(sampler: Any) -> tuple[int, int, int]:
    """The fates of a span without a parent, below a sampled one, and below one that is not, as far as known."""
    from opentelemetry.sdk.trace import sampling

    def of(sampler: Any) -> int:
        if type(sampler) is not sampling.StaticSampler:
            return ASKED
        decided = {sampling.Decision.DROP: DROPPED, sampling.Decision.RECORD_AND_SAMPLE: KEPT}
        return decided.get(sampler._decision, ASKED)

    if type(sampler) is not sampling.ParentBased:
        fate = of(sampler)
        return fate, fate, fate

    def either(kind: str) -> int:
        remote, local = (of(getattr(sampler, f"_{where}_parent_{kind}")) for where in ("remote", "local"))
        return remote if remote == local else ASKED

    return of(sampler._root), either("sampled"), either("not_sampled")
