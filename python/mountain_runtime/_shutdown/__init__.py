"""The settings of a shutdown, its steps and its report. `_runtime/close.py` has their order."""
