"""Connections at work: what comes runs at a desk or ends a call of this side. Nothing here knows a descriptor."""
