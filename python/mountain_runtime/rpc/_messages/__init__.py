"""The words of the protocol: framing, messages, codes and JSON, as bytes and values. Nothing here waits."""
