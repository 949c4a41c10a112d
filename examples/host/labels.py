"""The sidecar of the host: a label printer, which answers each line with a label until it is told to quit."""

import sys
import time

print("label printer ready", flush=True)
for line in sys.stdin:
    if line == "quit\n":
        break
    number, item = line.rstrip("\n").split(" ", 1)
    time.sleep(0.002)  # it prints
    print(f"LABEL-{int(number):06d} {item.upper()}", flush=True)
print("label printer off", file=sys.stderr)
