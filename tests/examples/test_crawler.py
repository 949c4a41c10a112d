"""A crawler: two requests at a time and one a second for each host, and what is deep waits for what is not."""

import time
from itertools import pairwise

import pytest

from tests.examples.servers import Asked, most_at_once, serving
from tests.examples.support import PROGRAMS, execute

pytestmark = pytest.mark.processes

LINKS = {
    "http://a.example/": ["/1", "/2", "/3", *(f"http://b.example/{number}" for number in range(4)), "/1#top"],
    "http://a.example/1": ["/deep/1", "/deep/2", "/deep/3", "/2"],
    "http://a.example/2": ["/deep/1", "/", "http://gone.example/"],
}
#: How much closer than a second two starts may seem: the program counts when it lets go, we when the request is here.
NEAR = 0.8


def test_each_host_is_asked_politely_and_the_shallow_pages_first() -> None:
    lost: list[str] = []

    def answer(asked: Asked) -> str | None:
        if asked.path == "/3" and asked.host == "a.example" and not lost:
            lost.append(asked.path)
            return None  # by its next attempt, deep pages have queued up
        if asked.host == "b.example":
            time.sleep(2.4)  # so slow that a third one would be asked for before the first has answered
        return "".join(f'<a href="{link}">' for link in LINKS.get(f"http://{asked.host}{asked.path}", []))

    with serving(answer) as server:
        hosts = {"a.example": server.server_port, "b.example": server.server_port}
        code, output, said = execute(PROGRAMS / "crawler.py", "http://a.example/", hosts=hosts)
        a, b = server.by_host("a.example"), server.by_host("b.example")

    assert (code, output) == (0, "12\n"), said
    assert said == "http://gone.example/ no such host: gone.example\n"
    # Each page once, but for the lost one. That comes again before the deep ones that were there first.
    assert [each.path for each in a] == ["/", "/1", "/2", "/3", "/deep/1", "/3", "/deep/2", "/deep/3"]
    assert sorted(each.path for each in b) == ["/0", "/1", "/2", "/3"]
    for of_host in (a, b):
        assert min(after.began - before.began for before, after in pairwise(of_host)) > 1 - NEAR
        assert of_host[-1].began - of_host[0].began > len(of_host) - 1 - NEAR
    assert most_at_once(each.span for each in b) == 2
