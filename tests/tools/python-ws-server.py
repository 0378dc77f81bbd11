"""A WebSocket server on Python's `websockets` for the black-box cases: chooses the subprotocol
`second` where it is offered, sets two cookies, compresses, echoes, and refuses /refuse with a 401
and a body. Prints `port N` once it accepts."""

import asyncio
import http

from websockets.asyncio.server import serve


def refuse(connection, request):
    if request.path.startswith("/refuse"):
        response = connection.respond(http.HTTPStatus.UNAUTHORIZED, "not today")
        response.headers["WWW-Authenticate"] = 'Basic realm="python"'
        return response
    return None


def add_cookies(connection, request, response):
    response.headers["Set-Cookie"] = "a=1"
    response.headers["Set-Cookie"] = "b=2"
    return response


def choose(connection, offered):
    return "second" if "second" in offered else None


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(
        echo,
        "127.0.0.1",
        0,
        process_request=refuse,
        process_response=add_cookies,
        select_subprotocol=choose,
        subprotocols=["second"],
        max_size=None,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"port {port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
