"""What an operator sees of a runtime: spans, logs, the last failures, the live page; no file here needs another one."""
