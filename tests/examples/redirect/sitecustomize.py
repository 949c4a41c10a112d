"""Sends a program's requests to servers on this machine, so that the program can name the hosts that it would name.

With this folder on PYTHONPATH, Python imports this before any program; REDIRECTED_HOSTS says which host is which port.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping

import httpx

Send = Callable[[httpx.AsyncHTTPTransport, httpx.Request], Awaitable[httpx.Response]]


def redirected(ports: Mapping[str, int]) -> Send:
    """For `httpx.AsyncHTTPTransport.handle_async_request`. There are no other hosts: no test asks the network."""
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def handle_async_request(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.url.host not in ports:
            raise httpx.ConnectError(f"no such host: {request.url.host}", request=request)
        # A request of its own: the program still sees the address that it asked for, in errors and in redirections.
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=ports[request.url.host])
        here = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return await send(transport, here)

    return handle_async_request


if hosts := os.environ.get("REDIRECTED_HOSTS"):
    httpx.AsyncHTTPTransport.handle_async_request = redirected(json.loads(hosts))  # type: ignore[method-assign]
