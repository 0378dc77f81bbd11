"""A conversation of Python's `websockets` over TLS with an echo server behind the gateway.

Arguments: the gateway's wss:// URL, and the files of its authority, of the client's certificate and
of its key. Ends with 0 and the line `ok` when all was as it must be.
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect

url, ca, cert, key = sys.argv[1:5]


def context(version, shows):
    made = ssl.create_default_context(cafile=ca)
    made.minimum_version = made.maximum_version = version
    if shows:
        made.load_cert_chain(cert, key)
    return made


async def converse(version):
    tls = context(version, True)
    async with connect(url, ssl=tls, max_size=None, compression=None) as socket:
        for size in (0, 1, 125, 126, 16384, 65536, 1_000_000):
            data = os.urandom(size)
            await socket.send(data)
            assert await socket.recv() == data, size
        parts = [os.urandom(7000) for _ in range(300)]

        async def send():
            for part in parts:
                await socket.send(part)

        sending = asyncio.create_task(send())
        for part in parts:
            assert await socket.recv() == part
        await sending
    assert socket.close_code == 1000, socket.close_code


async def is_refused():
    try:
        async with connect(url, ssl=context(ssl.TLSVersion.TLSv1_3, False)):
            raise AssertionError("a client without a certificate is let in")
    except (OSError, EOFError, ssl.SSLError):
        pass
    except Exception as error:
        assert type(error).__name__ in ("InvalidMessage", "ConnectionClosedError"), error


asyncio.run(converse(ssl.TLSVersion.TLSv1_2))
asyncio.run(converse(ssl.TLSVersion.TLSv1_3))
asyncio.run(is_refused())
print("ok")
