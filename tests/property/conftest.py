"""The number of examples of the property tests: `--hypothesis-profile=default|ci|deep`."""

from hypothesis import HealthCheck, settings

# Examples wait in real time now and then, so no single one has a time limit of its own; pytest's is for the whole test.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

#: Of new seeds in each run: a hundred changes see more examples than any one of them.
settings.register_profile("default", max_examples=120, **COMMON)
#: The same examples in each run, and what shrinks them printed so that it can be pasted here.
settings.register_profile("ci", max_examples=120, derandomize=True, print_blob=True, **COMMON)
#: From new seeds, as many as a night allows.
settings.register_profile("deep", max_examples=20_000, print_blob=True, **COMMON)
