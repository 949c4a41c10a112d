"""A program for a sidecar: it says that it is ready, answers lines, serves a port, and does as told.

Its arguments are words: `port N` listens, `grandchild FILE` starts one that listens too and writes its number, `quick`
ends at once, `stubborn` ignores SIGTERM, `slow` takes its time to be ready.
"""

import os
import signal
import socket
import subprocess
import sys
import time


def main(words: list[str]) -> None:
    """Until its stdin ends, or for ever with a port."""
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "quick" in words:
        sys.stderr.write("cannot open the store\nno such thing\n")
        sys.exit(4)
    listening = socket.socket() if "port" in words else None
    if listening is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", int(words[words.index("port") + 1])))
        listening.listen()
    if "grandchild" in words:
        # It holds the port as well: what is left of the group keeps it taken.
        handed = [listening.fileno()] if listening is not None else []
        ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
        other = subprocess.Popen([sys.executable, "-S", "-c", ignoring], pass_fds=handed)
        with open(words[words.index("grandchild") + 1], "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n{other.pid}\n")
    if "slow" in words:
        time.sleep(0.3)
    print("warming up", flush=True)
    print("ready" if "stderr" not in words else "on stderr", flush=True)
    if "stderr" in words:
        sys.stderr.write("ready\n")
    if listening is not None:
        while True:
            listening.accept()[0].close()
    for line in sys.stdin:
        word = line.strip()
        if word == "die":
            sys.stderr.write("about to die\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "quit":
            sys.exit(0)
        print(f"{os.getpid()} {word}", flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    main(sys.argv[1:])
