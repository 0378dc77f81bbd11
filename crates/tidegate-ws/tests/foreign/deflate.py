"""permessage-deflate as websockets and zlib have it. Lines in, lines out:

new ROLE SERVER_NO_TAKEOVER CLIENT_NO_TAKEOVER SERVER_BITS CLIENT_BITS   bits 0: not said; 1: no value
    a client prints its offer and reads an answer; a server reads offers and prints its answer;
    either prints "-" where it fails the negotiation, or declines
message PIECES      the hexadecimal pieces of a compressed message, between commas:
    prints what it is, and the same, compressed in two fragments
sizes LEVEL TAKEOVER BITS MESSAGES   prints what zlib makes of all messages
"""

import sys
import zlib

from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension


def say(line):
    print(line, flush=True)


def settings(words):
    server_takeover, client_takeover, server_bits, client_bits = map(int, words)
    return {
        "server_no_context_takeover": bool(server_takeover),
        "client_no_context_takeover": bool(client_takeover),
        "server_max_window_bits": server_bits or None,
        "client_max_window_bits": {0: None, 1: True}.get(client_bits, client_bits),
    }


def client(words):
    factory = ClientPerMessageDeflateFactory(**settings(words))
    say(build_extension([(factory.name, list(factory.get_request_params()))]))
    [(_, parameters)] = parse_extension(sys.stdin.readline().strip())
    return factory.process_response_params(parameters, []), None


def server(words):
    wanted = settings(words)
    if wanted["client_max_window_bits"] is True:  # an answer has a value, or nothing
        wanted["client_max_window_bits"] = None
    factory = ServerPerMessageDeflateFactory(**wanted)
    for name, parameters in parse_extension(sys.stdin.readline().strip()):
        try:
            answer, extension = factory.process_request_params(parameters, [])
        except Exception:
            continue
        return extension, build_extension([(name, answer)])
    return None, "-"


def message(extension, pieces):
    plain = b""
    pieces = [bytes.fromhex(piece) for piece in pieces.split(",")]
    for place, piece in enumerate(pieces):
        opcode = Opcode.CONT if place else Opcode.BINARY
        frame = Frame(opcode, piece, place + 1 == len(pieces), not place)
        plain += bytes(extension.decode(frame).data)
    half = len(plain) // 2
    first = extension.encode(Frame(Opcode.BINARY, plain[:half], False))
    second = extension.encode(Frame(Opcode.CONT, plain[half:], True))
    say(f"{plain.hex()} {bytes(first.data).hex()},{bytes(second.data).hex()}")


def sizes(level, takeover, bits, messages):
    size = 0
    engine = None
    for text in messages.split(","):
        if engine is None or takeover == "0":
            engine = zlib.compressobj(int(level), zlib.DEFLATED, -int(bits))
        packed = engine.compress(bytes.fromhex(text))
        size += len(packed + engine.flush(zlib.Z_SYNC_FLUSH)) - 4
    say(size)


extension = None
for line in iter(sys.stdin.readline, ""):
    verb, *words = line.split()
    if verb == "new":
        try:
            extension, answer = {"client": client, "server": server}[words[0]](words[1:])
            say(answer or "agreed")
        except Exception:
            say("-")
    elif verb == "message":
        message(extension, *words)
    else:
        sizes(*words)
