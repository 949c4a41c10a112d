"""Functions that make, compose and bound effects. The native module runs effects."""
