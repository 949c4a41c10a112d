"""Addresses, listeners, and wires over descriptors and processes. No wire reads a message."""
