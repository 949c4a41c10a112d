"""Commands: their parameters, descriptions and callers, and one run here. Nothing here knows a connection."""
