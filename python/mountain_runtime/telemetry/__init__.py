"""What an operator sees of a runtime: spans, logs, the last failures, the live page. Each is a file that nothing else needs."""
