"""What a task of ours owes asyncio and its caller: exits pass, cancels are told apart, the user's exceptions stay
as they are, and one can see where it stands. Nothing here knows a policy or a runtime.
"""
