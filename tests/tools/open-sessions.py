"""Keeps sessions open through the gateway, to an echo server of its own, until standard input ends;
one that is ended is opened anew. Argument: the gateway's port. Prints the echo server's port, then,
once there are sessions, `open`."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import WebSocketException

SESSIONS = 40


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def keep(url, opened):
    while True:
        try:
            async with connect(url, subprotocols=["chat"]) as socket:
                await socket.send("hello")
                async for _ in socket:
                    opened.release()
        except (OSError, WebSocketException):
            await asyncio.sleep(0.05)


async def main():
    gateway = sys.argv[1]
    async with serve(echo, "127.0.0.1", 0, subprotocols=["chat"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        opened = asyncio.Semaphore(0)
        paths = ["chat/room/%C3%A9", "other"]
        sessions = [
            asyncio.create_task(keep(f"ws://127.0.0.1:{gateway}/{paths[place % 2]}", opened))
            for place in range(SESSIONS)
        ]
        for _ in sessions:
            await opened.acquire()
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for session in sessions:
            session.cancel()


asyncio.run(main())
