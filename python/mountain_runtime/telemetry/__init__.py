"""Telemetry of a runtime: spans, logs, the last failures, the live page. The core knows none of them."""
