import asyncio, json, sys, runpy

sys.argv = ["x"]
import mountain_runtime
from mountain_runtime import testing
from mountain_runtime.testing import Reply

src = open("/work/shared/next/programs/i_gateway.py").read()
ns = {}
exec(compile(src, "i_gateway", "exec"), ns)
n = 0


def answer(req):
    global n
    n += 1
    if req.url.endswith("/stream"):
        return Reply(body=[b'{"token":"a"}\n{"tok', b'en":"b"}\n'])
    if ":8001" in req.url:
        return Reply(500) if n < 9 else Reply(json={"text": "big"})
    return Reply(json={"text": "small"})


async def main():
    with testing.http(answer) as reqs:
        print(await ns["ask"]("t", "hello"))
        await ns["chat"]("t", "hello")
        print()
        print([r.url for r in reqs])


asyncio.run(main())
