"""The record of requests: a file that is written beside the work, and read. Nothing here runs a command."""
