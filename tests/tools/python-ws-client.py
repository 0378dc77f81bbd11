"""A conversation of Python's `websockets` with an echo server behind the gateway. Arguments: the
gateway's ws:// URL, and the reason that its close answers with where that is not ours. Ends
with 0 and the line `ok` when all was as it must be."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = sys.argv[1]
FAREWELL = sys.argv[2] if len(sys.argv) > 2 else "bye"


async def converse():
    options = {"subprotocols": ["first", "second"], "max_size": None, "ping_interval": None}
    async with connect(f"{URL}/open", **options) as socket:
        assert socket.subprotocol == "second", socket.subprotocol
        cookies = socket.response.headers.get_all("Set-Cookie")
        assert cookies == ["a=1", "b=2"], cookies
        deflate = socket.response.headers["Sec-WebSocket-Extensions"]
        assert "permessage-deflate" in deflate, deflate

        long = "all work and no play " * 100_000
        binary = bytes(index * 7919 & 255 for index in range(70_000))
        for message in ["héllo wörld", "", binary, long]:
            await socket.send(message)
            assert await socket.recv() == message, "an echo differs"

        await socket.send(["one ", "two ", "three"])  # fragments
        assert await socket.recv() == "one two three"

        pong = await socket.ping("are you there")
        await asyncio.wait_for(pong, 10)

        await socket.close(4001, "bye")
        try:
            await socket.recv()
            raise AssertionError("it is still open")
        except ConnectionClosed as closed:
            received = closed.rcvd
            assert (received.code, received.reason) == (4001, FAREWELL), received


async def refused():
    try:
        async with connect(f"{URL}/refuse"):
            raise AssertionError("it was not refused")
    except InvalidStatus as refusal:
        response = refusal.response
        assert response.status_code == 401, response
        assert response.headers["WWW-Authenticate"].startswith("Basic realm="), response.headers
        assert response.body.strip() == b"not today", response.body


async def main():
    await converse()
    await refused()
    print("ok", flush=True)


asyncio.run(asyncio.wait_for(main(), 60))
