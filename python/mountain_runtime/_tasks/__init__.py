"""The contract of tasks with asyncio and their callers: exits pass, cancels are told apart, the user's exceptions stay
as they are, and the stack of a task can be read. Nothing here knows a policy.
"""
