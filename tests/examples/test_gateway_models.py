"""The gateway in front of models on this machine that fail, stall, refuse, hang up and stream."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.support import GATEWAY, LONG, environment, until

pytestmark = pytest.mark.processes

QUESTIONS = 120


@pytest.fixture
def models() -> Iterator[dict[str, str]]:
    """Their addresses, as the gateway takes them from its environment."""
    argv = [sys.executable, GATEWAY.parent / "models.py", "0", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline().strip() for _ in range(2)]
        yield dict(line.split("=", 1) for line in lines)
        program.kill()


def start(models: dict[str, str], questions: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", GATEWAY, str(questions)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | models,
    )


def test_every_question_has_an_answer(models: dict[str, str]) -> None:
    with start(models, QUESTIONS) as program:
        output, said = program.communicate(timeout=LONG)
    assert program.returncode == 0, said
    answered = dict(line.split(": ") for line in output.splitlines())
    assert answered.pop("stream of 20") == str(QUESTIONS // 4)
    assert sum(map(int, answered.values())) == QUESTIONS * 3 // 4
    assert set(answered) <= {"big", "small"}
    assert int(answered["big"]) > QUESTIONS // 4, "most faults pass by the next attempt"


def test_ctrl_c_stops_it_in_the_middle(models: dict[str, str]) -> None:
    with start(models, 100_000) as program:
        port = int(models["BIG_MODEL"].rpartition(":")[2])
        # Connected: the first questions are on their way.
        until(lambda: f":{port:04X} 01 " in Path(f"/proc/{program.pid}/net/tcp").read_text(), program)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=LONG)
    assert program.returncode == 130, said
