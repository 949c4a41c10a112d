"""The runtime: the work that it owns, the code that may submit more, and the order in which all of it is closed."""
