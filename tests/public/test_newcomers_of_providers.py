"""The same for those who begin with requests, files in pieces, searches, watches and terminals."""

import gc
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Err, Retry, Timeout, fs, http, process, search, sidecar, testing
from mountain_runtime.errors import ConfigError

#: Anything: what is wrong here, a type checker refuses.
http_: Any = http
client_: Any = http.Client
api: Any = http.Client("https://api.test")
search_: Any = search.lines
fs_: Any = fs
terminal: Any = process.terminal
opened_: Any = process.open
run_: Any = process.run
sidecar_: Any = sidecar
reply: Any = testing.Reply
answers: Any = testing.http
files: Any = testing.files

OPEN = "client.open(method, url) is an asynchronous block: write `async with client.open(method, url) as body:`"
READING = "Bad file descriptor, which is for reading: open it with mode 'r+' to write over it"

WRITTEN: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # -- a client
    (lambda: client_(5), ConfigError, "http.Client(base=5): must be a text that begins with http://, https:// or"),
    (lambda: client_("api.test/v1"), ConfigError, "such as 'https://api.test/v1'"),
    (lambda: client_("localhost:8000"), ConfigError, "such as 'https://localhost:8000'"),
    (lambda: client_("/v1"), ConfigError, "must be a text that begins with http://, https:// or unix:"),
    (lambda: client_("unix:/run/x\0.sock"), ConfigError, "a socket's path has no zero byte"),
    (lambda: client_(f"unix:/{'x' * 200}"), ConfigError, "a socket's path has at most"),
    (lambda: client_("ftp://a"), ConfigError, "only http and https are spoken, not ftp: begin it with http://"),
    (lambda: client_(headers="a: b"), ConfigError, "headers= takes a mapping of str to str, not str"),
    (lambda: client_(headers={"a": 5}), ConfigError, "headers= takes texts, and 'a' has int: write str()"),
    (lambda: client_(headers={"a": None}), ConfigError, "headers= takes texts, and 'a' has NoneType: leave it out"),
    (lambda: client_(headers={"a": b"b"}), ConfigError, "headers= takes texts, and 'a' has bytes: decode it"),
    (lambda: client_(headers=["a: b"]), ConfigError, "a mapping, or pairs of a name and a value, not str"),
    (lambda: client_(proxy={"https": "http://p"}), ConfigError, 'a text such as "http://proxy:3128", not dict'),
    (lambda: client_(cert="both.pem"), ConfigError, "two files, (certificate, key); the same one twice where"),
    (lambda: client_(redirects=-1), ConfigError, "http.Client(redirects=-1): must be a whole number, 0 or more"),
    (lambda: client_(redirects="5"), ConfigError, "convert a text by int()"),
    (lambda: client_(redirects=True), ConfigError, "they are followed without it, and 0 follows none"),
    (lambda: client_(cookies={"a": "b"}), ConfigError, "a cookie of your own is headers={'Cookie': 'name=value'}"),
    (lambda: client_(http2="no"), ConfigError, "http.Client(http2='no'): must be True or False"),
    (lambda: client_().__enter__(), TypeError, "write `async with http.Client() as client:`"),
    (lambda: api.put("/a"), AttributeError, "write client.request('PUT', url)"),
    (lambda: api.delete("/a"), AttributeError, "write client.request('DELETE', url)"),
    (lambda: api.stream("GET", "/a"), AttributeError, "write `async with client.open(method, url) as body:`"),
    (lambda: api.aclose, AttributeError, "its connections close with its block"),
    (lambda: api.other, AttributeError, "'Client' object has no attribute 'other'"),
    (lambda: client_("https://a.test?k=1"), ConfigError, "without ? and #: write params= with each request"),
    (lambda: client_(base_url="https://a.test"), TypeError, "argument 'base_url': write http.Client('https://...')"),
    (lambda: client_(timeout=5), TypeError, "'timeout': write request.under(Timeout(seconds))"),
    (lambda: client_(auth=("a", "b")), TypeError, "'auth': write headers={'Authorization': ...}"),
    (lambda: client_(verify=False), TypeError, "'verify': certificates are always looked at"),
    (lambda: client_(other=1), TypeError, "unexpected keyword argument 'other'"),
    (lambda: http_.AsyncClient, AttributeError, "no attribute 'AsyncClient': write http.Client()"),
    (lambda: http_.get, AttributeError, "no attribute 'get': write http.Client().request(method, url)"),
    (lambda: http_.HTTPStatusError, AttributeError, "write http.StatusError"),
    (lambda: http_.other, AttributeError, "module 'mountain_runtime.http' has no attribute 'other'"),
    # -- a request
    (lambda: api.get("/a", timeout=5), TypeError, "client.get() got an unexpected keyword argument 'timeout': write"),
    (lambda: api.get("/a", json=1), TypeError, "'json': a GET has no body: write client.request('GET', url, json=...)"),
    (lambda: api.get("/a", other=1), TypeError, "client.get() got an unexpected keyword argument 'other'"),
    (lambda: api.post("/a", content=b""), TypeError, "client.post() got an unexpected keyword argument 'content'"),
    (lambda: api.post("/a", params={}), TypeError, "'params': write client.request(method, url, params=...)"),
    (lambda: api.request("GET", "/a", cookies={}), TypeError, "client.request() got an unexpected keyword argument 'c"),
    (lambda: api.open("GET", "/a", timeout=5), TypeError, "around a block `async with asyncio.timeout(seconds):`"),
    (lambda: api.download("/a", "b", timeout=5), TypeError, "client.download() got an unexpected keyword argument 'ti"),
    (lambda: api.get("/a", params={"a": {"b": 1}}), TypeError, "or lists of them, and 'a' is a mapping: write a name"),
    (lambda: client_().get("api.test/x"), ValueError, "has no host: begin it with https://, or give the client a base"),
    (lambda: client_().get("localhost:80/x"), ValueError, "are spoken, not localhost: begin it with http:// or"),
    (lambda: api.get(5), TypeError, "a request takes url as a str, not 5"),
    (lambda: api.get(["/a", "/b"]), TypeError, "a request takes url as a str, not ['/a', '/b']"),
    (lambda: api.request(5, "/a"), TypeError, "a request takes method as a str, not 5"),
    (lambda: api.open("GET", None), TypeError, "a request takes url as a str, not None"),
    (lambda: api.download(5, "a"), TypeError, "a request takes url as a str, not 5"),
    (lambda: api.download("/a", None), TypeError, "a path is a str or os.PathLike, not NoneType"),
    (lambda: api.download("/a", "b", progress=print), TypeError, "takes an http.Progress(), which says how far it is"),
    (lambda: api.get("/a", params="a=1"), TypeError, "params= takes a mapping, not 'a=1'"),
    (lambda: api.get("/a", headers={"a": 5}), TypeError, "headers= takes texts, and 'a' has int: write str()"),
    (lambda: api.post("/a", data="text"), TypeError, "data= takes bytes or a mapping, not str: write text.encode()"),
    (lambda: api.post("/a", data=[1]), TypeError, "data= takes bytes or a mapping, not list: write json="),
    (lambda: api.post("/a", data={"a": {"b": 1}}), TypeError, "data= is a form, whose fields are texts, and 'a' is"),
    (lambda: api.post("/a", json=float("nan")), ValueError, "not JSON compliant"),
    (lambda: api.post("/a", json=1, data=b""), TypeError, "a request has json= or data=, not both"),
    (lambda: api.post("/a", files={"a": b""}), TypeError, "files['a'] is a tuple, (name, content) or (name, content,"),
    (lambda: api.post("/a", files={"a": ("b", "c")}), TypeError, "has its content as bytes, not str: write text.enc"),
    (lambda: api.post("/a", files=[("a", b"")]), TypeError, "files= takes a mapping of fields to files, not list"),
    (lambda: api.post("/a", files={}, data=b""), TypeError, "data= beside files= is a mapping"),
    (lambda: api.open("GET", "/a").__enter__(), TypeError, OPEN),
    (lambda: api.open("GET", "/a").__await__(), TypeError, OPEN),
    # -- searches, watches, terminals
    (lambda: search_(re.compile("a")), TypeError, "takes a pattern as a str, not Pattern: write its .pattern"),
    (lambda: search_("a", case=True), ConfigError, "search.lines(case=True): must be 'sensitive', 'insensitive' or"),
    (lambda: search_("a", literal="yes"), ConfigError, "search.lines(literal='yes'): must be True or False"),
    (lambda: search_("a", include=[5]), TypeError, "search.lines(include=) takes globs as str, not 5"),
    (lambda: search_("a", include="*.py"), TypeError, "takes several globs: write include=['*.py']"),
    (lambda: search_("("), ConfigError, "unclosed group"),
    (lambda: search_("a\nb"), ConfigError, "write multiline=True for one that goes over lines"),
    (lambda: search_("a", context="2"), ConfigError, "whole number, 0 or more: convert a text by int()"),
    (lambda: search_("a", context=-1), ConfigError, "context=-1): must be a whole number, 0 or more"),
    (lambda: search_("a", ignore_case=True), TypeError, "'ignore_case': write case='insensitive'; 'smart', without"),
    (lambda: search_("a", glob="*.py"), TypeError, "argument 'glob': write include=['*.py'], and exclude= for those"),
    (lambda: search_("a", max_count=1), TypeError, "argument 'max_count': write max_per_file="),
    (lambda: search_("a", path="src"), TypeError, "'path': the root is the second argument; of several, search each"),
    (lambda: search_("a", other=1), TypeError, "search.lines() got an unexpected keyword argument 'other'"),
    (lambda: list(search_("a")), TypeError, "write `async with search.lines(...) as items:`"),
    (lambda: list(fs_.watch(".")), TypeError, "write `async with fs.watch(...) as items:`"),
    (lambda: anext(fs_.watch(".")), TypeError, "once it is open: write `async with fs.watch(...) as items:`"),
    (lambda: fs_.watch(".", recursive=True), TypeError, "argument 'recursive': all below the root is watched"),
    (lambda: fs_.watch(".", debounce=1600), TypeError, "'debounce': settle= is the quiet that ends a batch, in sec"),
    (lambda: fs_.watch(".", stop_event=None), TypeError, "'stop_event': leaving the block ends the watch"),
    (lambda: fs_.watch(".", other=1), TypeError, "fs.watch() got an unexpected keyword argument 'other'"),
    (lambda: fs_.lock("a", timeout=5), TypeError, "'timeout': write `async with deadline(seconds), fs.lock(path):`"),
    (lambda: fs_.rooted(".").lock("a", blocking=False), TypeError, "'blocking': write wait=False for a lock that is"),
    (lambda: fs_.lock("a", other=1), TypeError, "fs.lock() got an unexpected keyword argument 'other'"),
    (lambda: fs_.watch(["a", "b"]), TypeError, "fs.watch() takes a path as a str or os.PathLike, not list"),
    (lambda: fs_.watch(".", settle="1"), ConfigError, "convert a text by float()"),
    (lambda: fs_.glob("/etc/*"), ConfigError, "fs.glob('/etc/*'): a pattern is made of names below the root"),
    (lambda: fs_.glob("*").__aenter__(), TypeError, "one by one: write `async for entry in fs.glob(...):`"),
    (lambda: fs_.walk(".").__await__(), TypeError, "one by one: write `async for entry in fs.walk(...):`"),
    (lambda: list(fs_.rooted(".").walk()), TypeError, "one by one: write `async for entry in folder.walk(...):`"),
    (lambda: fs_.rooted(".").glob("*").__enter__(), TypeError, "write `async for entry in folder.glob(...):`"),
    (lambda: fs_.open("a", "rb"), ConfigError, "must be 'r', 'r+', 'w', 'x' or 'a'; all are of bytes"),
    (lambda: fs_.open("a").__await__(), TypeError, "write `async with fs.open(...) as file:`"),
    (lambda: terminal(["sh"]), ConfigError, "write process.terminal(*argv)"),
    (lambda: terminal("sh", env={}), TypeError, "'env': write process.terminal('env', 'NAME=value', program), which"),
    (lambda: terminal("sh", dimensions=(24, 80)), TypeError, "'dimensions': write columns= and rows="),
    (lambda: terminal("sh", encoding="utf-8"), TypeError, "'encoding': what is sent and received is bytes: write"),
    (lambda: terminal("sh", timeout=5), TypeError, "write `async with asyncio.timeout(seconds):` around what waits"),
    (lambda: terminal("sh", echo=False), TypeError, "'echo': write 'sh', '-c', 'stty -echo; exec program'"),
    (lambda: terminal("sh", other=1), TypeError, "process.terminal() got an unexpected keyword argument 'other'"),
    (lambda: opened_("ls", text=True), TypeError, "process.open() got an unexpected keyword argument 'text': what is"),
    (lambda: opened_("ls", stdout=-1), TypeError, "'stdout': write `await send(line)`, and receive() or"),
    (lambda: run_("ls", capture_output=True), TypeError, "'capture_output': what it wrote is in the value: .stdout"),
    (lambda: run_("ls | wc", shell=True), TypeError, "'shell': write 'sh', '-c', line in the place of the program"),
    (lambda: run_("ls", timeout=5), TypeError, "'timeout': write process.run(...).under(Timeout(seconds))"),
    (lambda: sidecar_("redis", env={}), TypeError, "sidecar() got an unexpected keyword argument 'env': write"),
    (lambda: sidecar_("redis", port=5), TypeError, "'port': write ready=port"),
    (lambda: terminal("sh").__await__(), TypeError, "write `async with process.terminal(...) as t:`"),
    (lambda: fs_.exists("a"), AttributeError, "write `await fs.stat(path).attempt(FileNotFoundError)`"),
    (lambda: fs_.listdir("a"), AttributeError, "or fs.glob('*', root) for one folder alone"),
    (lambda: fs_.rmtree("a"), AttributeError, "has no attribute 'rmtree': write fs.remove(path, tree=True)"),
    (lambda: fs_.awatch("a"), AttributeError, "write `async with fs.watch(root) as batches:`"),
    (lambda: fs_.other, AttributeError, "module 'mountain_runtime.fs' has no attribute 'other'"),
    # -- their fakes
    (lambda: answers(reply()), TypeError, "takes a function of a Request, as lambda request: testing.Reply("),
    (lambda: reply("200"), TypeError, "Reply(status='200'): must be a whole number, such as 404"),
    (lambda: reply(body="x"), TypeError, "not str: write body=text.encode()"),
    (lambda: reply(200, {"a": 1}), TypeError, "write json= for an object"),
    (lambda: reply(headers={"Retry-After": 1}), TypeError, "takes texts, write '1'"),
    (lambda: files(["a"]), TypeError, "files() takes a mapping of paths to contents, not ['a']"),
    (lambda: files({"a": 5}), TypeError, "takes a str, bytes, or None for a folder, not 5"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "error", "way"), WRITTEN, ids=[f"{n} {way}" for n, (*_, way) in enumerate(WRITTEN)]
)
def test_it_is_refused_where_it_is_written(written: Callable[[], Any], error: type[Exception], way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an open() that is dropped says that it was never entered
        with pytest.raises(error) as caught:
            written()
        gc.collect()
    assert way in str(caught.value)
    assert " at 0x" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    careless: list[Callable[[], Any]] = [
        lambda: client_(headers={"Authorization": b"Bearer s3cret"}),
        lambda: client_(headers="Authorization: s3cret"),
        lambda: client_(proxy={"https": "http://user:s3cret@p"}),
        lambda: api.get("/a", headers=["Authorization: s3cret"]),
    ]
    for written in careless:
        with pytest.raises((ConfigError, TypeError)) as caught:
            written()
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("said", [None, {"a": 1}, "text", (200, b""), testing.Reply])
async def test_an_answer_that_is_no_reply_is_named(said: Any) -> None:
    with (
        testing.http(lambda request: said),
        pytest.raises(TypeError, match=r"testing\.http\(\) gives a testing\.Reply, not"),
    ):
        await api.get("/a")


async def test_a_body_is_read_piece_by_piece() -> None:
    with testing.http(lambda request: testing.Reply(body=b"x")):
        async with api.open("GET", "/a") as body:
            with pytest.raises(TypeError, match="write `async for piece in body:`"):
                list(body)
            for name in ("read", "json", "text", "content"):
                with pytest.raises(AttributeError, match=rf"no attribute '{name}': write .* for a whole answer"):
                    getattr(body, name)
            with pytest.raises(AttributeError, match=r"no attribute 'other'$"):
                _ = body.other
            assert [piece async for piece in body] == [b"x"]


async def test_a_file_is_open_for_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"kept")
    async with fs_.open(tmp_path / "a") as file:
        for call in (file.write(b"x"), file.truncate(0)):
            with pytest.raises(OSError, match=re.escape(READING)) as caught:
                await call
            assert caught.value.filename == str(tmp_path / "a")
        with pytest.raises(TypeError, match=r"write `async for piece in file\.chunks\(\):`"):
            list(file)
        with pytest.raises(TypeError, match=r"write `async for piece in file\.chunks\(\):`"):
            aiter(file)
        for name in ("readline", "lines", "close"):
            with pytest.raises(AttributeError, match=f"'File' object has no attribute '{name}': "):
                getattr(file, name)
        assert await file.read() == b"kept"


async def test_what_is_read_after_its_block_is_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("TODO\n")
    async with search.lines("TODO", tmp_path) as matches:
        pass
    assert [match async for match in matches] == []
    async with fs.watch(tmp_path, existing=True) as batches:
        pass
    assert [batch async for batch in batches] == []


@pytest.mark.parametrize("opened", [process.open, process.terminal])
async def test_a_program_says_what_to_write_for_the_habits_of_others(opened: Any) -> None:
    async with opened("cat") as p:
        for name in (
            "terminate",
            "returncode",
            "expect_exact",
            "before",
            "communicate",
            "stdin",
            "sendline",
            "read",
            "expect",
        ):
            with pytest.raises(AttributeError, match=rf"object has no attribute '{name}': write "):
                getattr(p, name)
        with pytest.raises(AttributeError, match=r"no attribute 'other'$"):
            _ = p.other


async def test_a_terminal_says_what_to_write_for_the_habits_of_others() -> None:
    async with process.terminal("cat") as t:
        for name, way in (
            ("sendcontrol", r"await write\(b"),
            ("setwinsize", r"resize\(columns, rows\)"),
            ("display", r"screen\(\)"),
        ):
            with pytest.raises(AttributeError, match=rf"'Terminal' object has no attribute '{name}': write .*{way}"):
                getattr(t, name)


async def started(opened: Any, line: Any) -> None:
    async with opened(line):
        pass


@pytest.mark.parametrize("line", ["echo hi", "/bin/sh -c true", Path("echo hi")], ids=str)
async def test_a_command_line_in_one_text_says_what_to_write(line: Any) -> None:
    ways: list[Any] = [
        process.run(line),
        process.run(line).under(Retry(on=FileNotFoundError, attempts=2)),
        started(process.open, line),
        started(process.terminal, line),
        started(lambda line: sidecar(line)(), line),
    ]
    for way in ways:
        with pytest.raises(FileNotFoundError, match="No such file or directory") as caught:
            await way
        assert caught.value.filename == str(line)
        assert "write each argument as a text of its own, or 'sh', '-c', line" in caught.value.__notes__[0]
    assert isinstance(await process.run(line).attempt(FileNotFoundError), Err)


@pytest.mark.parametrize("name", ["no-such-program", "/no/such folder/program"])
async def test_a_program_that_is_missing_is_no_command_line(name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await process.run(name)
    assert not hasattr(caught.value, "__notes__")


async def test_a_terminal_that_is_over_says_so() -> None:
    async with process.terminal("sh", "-c", "exit 3") as t:
        assert await t.wait() == 3
        with pytest.raises(BrokenPipeError, match=r"it has ended with 3\. Open another one to go on"):
            await t.write(b"x")
        with pytest.raises(ProcessLookupError):
            t.resize(80, 24)
        assert t.screen() == ""


@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize(("on", "sent"), [(http.transient, 1), (ConnectionError, 3), (Exception, 3)])
async def test_what_may_have_run_is_sent_again_only_where_that_is_written(on: Any, sent: int) -> None:
    """As the guide has it: `transient` knows that a POST may have run, a class of errors does not."""

    def lost(request: testing.Request) -> testing.Reply:
        raise http.Unanswered(104, "gone", False)

    with answers(lost) as requests, pytest.raises(http.Unanswered):
        await api.post("/orders", json={}).under(Timeout(60), Retry(on=on, attempts=3))
    assert len(requests) == sent


async def test_a_form_with_files_has_the_fields_of_one_without() -> None:
    """A list is a field for each of its values, and None is none: neither is sent as the text of a Python object."""
    form = {"tag": ["a", "b"], "none": None, "raw": b"\xff", "page": 1}
    with testing.http(lambda request: testing.Reply()) as requests:
        await api.post("/a", data=form)
        await api.post("/a", data=form, files={"f": ("a.txt", b"")})
    assert requests[0].content == b"tag=a&tag=b&raw=%FF&page=1"
    parts = re.findall(rb'name="(\w+)"\r\n\r\n(.*)\r\n', requests[1].content)
    assert parts == [(b"tag", b"a"), (b"tag", b"b"), (b"raw", b"\xff"), (b"page", b"1")]


@pytest.mark.usefixtures("virtual_clock")
async def test_a_method_in_small_letters_is_the_one_that_is_meant() -> None:
    """Servers tell `get` from GET, and so does what may be sent again."""
    with testing.http(lambda request: testing.Reply(503)) as requests, pytest.raises(http.StatusError):
        await api.request("get", "/a").under(Timeout(60), Retry(on=http.transient, attempts=2))
    assert [request.method for request in requests] == ["GET", "GET"]


async def test_a_fake_follows_no_redirect_and_keeps_no_cookie() -> None:
    moved = testing.Reply(302, headers={"Location": "/b", "Set-Cookie": "a=b"})
    client = http.Client("https://api.test", cookies=True)
    with testing.http(lambda request: moved) as requests:
        assert [(await client.get("/a")).status for _ in range(2)] == [302, 302]
    assert [(request.url, "cookie" in request.headers) for request in requests] == [("https://api.test/a", False)] * 2
