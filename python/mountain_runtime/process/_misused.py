"""Arguments that other libraries have in the place of ours; each error says what to write here."""

from collections.abc import Iterable, Mapping

from .._effect.habits import no_argument

__all__ = ["foreign"]

_ALL = {
    "shell": "write 'sh', '-c', line in the place of the program",
    **dict.fromkeys(("args", "argv"), "write each argument as a text of its own, after the program"),
    **dict.fromkeys(
        ("preexec_fn", "pass_fds", "close_fds"), "a program has no descriptor of yours but the standard three"
    ),
    **dict.fromkeys(("start_new_session", "process_group"), "it leads a group of its own always"),
}
_TALKED_TO = {
    **_ALL,
    **dict.fromkeys(
        ("text", "encoding", "errors", "codec_errors", "universal_newlines"),
        "what is sent and received is bytes: write line.encode() and line.decode()",
    ),
    "timeout": "write `async with asyncio.timeout(seconds):` around what waits",
    "check": "write `await wait()`, which gives the exit code",
    **dict.fromkeys(("stdin", "stdout"), "write `await send(line)`, and receive() or `async for line in lines():`"),
    **dict.fromkeys(("bufsize", "limit", "maxread", "searchwindowsize"), "write `async for chunk in chunks():`"),
}
_WAYS: Mapping[str, Mapping[str, str]] = {
    "process.run": {
        **_ALL,
        **dict.fromkeys(("capture_output", "stdout", "stderr"), "what it wrote is in the value: .stdout and .stderr"),
        **dict.fromkeys(
            ("text", "encoding", "errors", "universal_newlines"), "what it wrote is bytes: write .stdout.decode()"
        ),
        "timeout": "write process.run(...).under(Timeout(seconds))",
        "stdin": "write input=, in bytes",
    },
    "process.open": {
        **_TALKED_TO,
        "input": "write `await send(line)`",
        "stderr": "it goes where this process's goes: write 'sh', '-c', 'exec program 2>&1' to read it",
    },
    "process.terminal": {
        **_TALKED_TO,
        "env": "write process.terminal('env', 'NAME=value', program), which adds to this process's",
        **dict.fromkeys(("dimensions", "size", "winsize"), "write columns= and rows="),
        **dict.fromkeys(("cols", "width"), "write columns="),
        **dict.fromkeys(("lines", "height"), "write rows="),
        "echo": "write 'sh', '-c', 'stty -echo; exec program'",
        "input": "write `await write(data)`",
        **dict.fromkeys(("logfile", "logfile_read"), "write `async for chunk in chunks():`"),
        "stderr": "it is the terminal, as its stdout is",
    },
    "sidecar": {
        **_ALL,
        **dict.fromkeys(
            ("cwd", "env"),
            "write sidecar('env', '--chdir=folder', 'NAME=value', program), which adds to this process's",
        ),
        "timeout": "write start_timeout= of provide, or `async with asyncio.timeout(seconds):` around its start",
        "port": "write ready=port",
        **dict.fromkeys(("stdout", "stderr"), "they go to the log, or stdout to receive()"),
    },
}


def foreign(call: str, given: Iterable[str]) -> TypeError:
    """The error of an argument that there is not."""
    return no_argument(call, given, _WAYS[call])
