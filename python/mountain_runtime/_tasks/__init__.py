"""What a task of this package owes asyncio and its caller: exits pass, cancels are told apart, the user's exceptions
stay as they are, and its stack can be read. Nothing here knows a policy.
"""
