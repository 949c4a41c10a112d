"""Runs a target until it fails: `python -m tests.fuzz framing -max_total_time=600`, with the options of libFuzzer."""

import json
import re
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mountain_runtime.rpc"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    check, seeds = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        found = {word.decode() for seed in seeds for word in re.findall(rb"[$/\w-]+", seed)}
        words.write_text("".join(f"{json.dumps(word)}\n" for word in sorted(found)))
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], f"-dict={words}", *options, str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
