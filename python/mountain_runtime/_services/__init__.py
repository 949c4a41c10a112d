"""Services: the graph of their needs, their start, health and end."""
