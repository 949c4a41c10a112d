"""The runtime: what it owns, who may hand it work, and the order in which it is closed."""
