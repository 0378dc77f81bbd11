"""permessage-deflate with Python's `websockets`, with every combination of its parameters.

As a client, `client URL`: talks with an echo server. As a server, `server`: echoes at as many ports as
there are combinations, at /0, /1, ...; prints `ports` and the port of each."""

import asyncio
import itertools
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

TEXT = '{"name":"Straße","value":4711}' * 20
NOISE = bytes((index * index * 7919 >> 3) & 255 for index in range(5000))
MESSAGES = [TEXT, TEXT + "!", "", NOISE, NOISE * 2 + b"ab" * 20_000 + NOISE, TEXT]


def combinations(bits):
    # zlib cannot compress with a window of 8 bits.
    return itertools.product([False, True], [False, True], bits, bits)


async def converse(url, parameters):
    server_alone, client_alone, server_bits, client_bits = parameters
    factory = ClientPerMessageDeflateFactory(
        server_no_context_takeover=server_alone,
        client_no_context_takeover=client_alone,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits or True,
    )
    async with connect(url, extensions=[factory], compression=None) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        for message in MESSAGES:
            await socket.send(message)
            assert await socket.recv() == message, parameters
        await socket.send([TEXT[:7], TEXT[7:300], TEXT[300:]])
        assert await socket.recv() == TEXT, parameters


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def listen(parameters):
    server_alone, client_alone, server_bits, client_bits = parameters
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=server_alone,
        client_no_context_takeover=client_alone,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    options = {"extensions": [factory], "compression": None, "max_size": None}
    server = await serve(echo, "127.0.0.1", 0, **options)
    return server.sockets[0].getsockname()[1]


async def main():
    if sys.argv[1] == "client":
        for parameters in combinations([None, 9, 15]):
            await converse(sys.argv[2], parameters)
        print("ok", flush=True)
        return
    ports = [await listen(parameters) for parameters in combinations([None, 9, 15])]
    print("ports", *ports, flush=True)
    await asyncio.Future()


asyncio.run(main())
