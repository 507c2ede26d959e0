"""WebSocket through the edge: byte for byte the same in both directions, whatever the frames hold, and wsproto on both
ends agrees.

usage: websocket_suite.py   (needs wsproto)
"""
import base64
import contextlib
import hashlib
import socket
import threading

import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Pong, Request, TextMessage

from world import Score, eventually, world

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketRegion:
    """A region. Behind /raw, every byte comes back as it came; behind /messages, wsproto echoes messages; behind
    /refuse, there is no WebSocket."""

    def __init__(self, name):
        self.name, self.seen, self.heads, self.ended = name, bytearray(), [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                wire, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire):
        with contextlib.suppress(OSError), wire:
            head = b""
            while b"\r\n\r\n" not in head:
                more = wire.recv(65536)
                if not more:
                    return
                head += more
            head, rest = head.split(b"\r\n\r\n", 1)
            self.heads.append(head)
            path = head.split(b" ")[1]
            if path == b"/messages":
                return self._messages(wire, head + b"\r\n\r\n" + rest)
            if path == b"/refuse":
                wire.sendall(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                rest += wire.recv(65536)
                self.seen += rest
                return
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
            accept = base64.b64encode(hashlib.sha1(key.split(b":", 1)[1].strip() + GUID).digest())
            wire.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
            )
            while True:
                data = rest or wire.recv(65536)
                rest = b""
                if not data:
                    break
                self.seen += data
                wire.sendall(data)
        self.ended += 1

    def _messages(self, wire, received):
        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        while True:
            peer.receive_data(received)
            for event in peer.events():
                if isinstance(event, Request):
                    wire.sendall(peer.send(AcceptConnection()))
                elif isinstance(event, (TextMessage, BytesMessage)):
                    wire.sendall(peer.send(Message(event.data, message_finished=event.message_finished)))
                elif isinstance(event, Ping):
                    wire.sendall(peer.send(event.response()))
                elif isinstance(event, CloseConnection):
                    wire.sendall(peer.send(event.response()))
                    return
            received = wire.recv(65536)
            if not received:
                return


def frame(opcode, payload, *, fin=True, rsv=0, length=None):
    """A masked frame; `length` writes the length in that many bytes, more than it needs if asked."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    length = length or (1 if size < 126 else 2 if size < 65536 else 8)
    lengths = bytes([0x80 | size]) if length == 1 else (b"\xfe" if length == 2 else b"\xff") + size.to_bytes(length, "big")
    mask = b"\x37\xfa\x21\x3d"
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + lengths + mask + masked


def join(edge, path, host="acme.app.example"):
    wire = socket.create_connection(("127.0.0.1", edge.port), timeout=20)
    key = base64.b64encode(b"0123456789abcdef")
    wire.sendall(
        b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: %s\r\n\r\n" % (path, host.encode(), key)
    )
    head = b""
    while b"\r\n\r\n" not in head:
        more = wire.recv(1)
        if not more:
            break
        head += more
    return wire, head, base64.b64encode(hashlib.sha1(key + GUID).digest())


def read(wire, size):
    got = b""
    while len(got) < size:
        more = wire.recv(65536)
        if not more:
            break
        got += more
    return got


def main():
    score = Score("websocket")
    eu, us = WebSocketRegion("eu"), WebSocketRegion("us")
    cases = {
        "text": frame(1, "h\u00e9llo".encode()),
        "empty": frame(2, b""),
        "125 bytes": frame(2, bytes(125)),
        "126 bytes, two bytes of length": frame(2, bytes(126)),
        "65535 bytes": frame(2, bytes(65535)),
        "65536 bytes, eight bytes of length": frame(2, bytes(65536)),
        "1 MiB": frame(2, bytes(range(256)) * 4096),
        "fragments with a ping between": frame(1, b"one", fin=False) + frame(9, b"?") + frame(0, b"two", fin=False)
        + frame(0, b"three"),
        "a length in more bytes than it needs": frame(2, b"abc", length=8),
        "RSV1 as compression sets it": frame(1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4),
        "RSV2 and RSV3": frame(1, b"x", rsv=3),
        "a reserved opcode": frame(5, b"x"),
        "text that is no UTF-8": frame(1, b"\xff\xfe"),
        "bytes that look like HTTP": b"\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "a close frame with a code and a reason": frame(8, (1000).to_bytes(2, "big") + b"done"),
        "a close frame with a private code": frame(8, (4999).to_bytes(2, "big")),
        "a close frame with a code that may not be sent": frame(8, (1006).to_bytes(2, "big")),
    }
    with world(regions=(eu.port, us.port)) as (edge, _, _):
        for name, sent in cases.items():
            del eu.seen[:]
            wire, head, accept = join(edge, b"/raw")
            with wire:
                wire.sendall(sent)
                back = read(wire, len(sent))
            named = [line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-accept:")]
            opened = head.startswith(b"HTTP/1.1 101 ") and named == [accept]
            score.judge(name, opened and back == sent == bytes(eu.seen), f"{head!r} {len(back)} of {len(sent)} bytes")
        del eu.seen[:]
        wire, _, _ = join(edge, b"/raw")
        sent = frame(1, b"one byte at a time", fin=False) + frame(0, b"!") + frame(8, b"\x03\xe8")
        with wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = b""
            for at in range(len(sent)):
                wire.sendall(sent[at : at + 1])
                back += wire.recv(64)
        score.judge("segments of one byte", back == sent == bytes(eu.seen), f"{back!r}")

        before = eu.ended
        wire, _, _ = join(edge, b"/raw")
        wire.sendall(b"x")
        wire.recv(1)
        wire.close()
        try:
            eventually("the region is told that the client left", lambda: eu.ended > before, 20)
            score.judge("a client that leaves is gone at the region too", True)
        except TimeoutError as error:
            score.judge("a client that leaves is gone at the region too", False, str(error))

        wire, head, _ = join(edge, b"/raw", host="globex.app.example")
        wire.close()
        score.judge("it goes to the owner, as a write", len(us.heads) == 1, f"{len(us.heads)} at us")
        del eu.seen[:]
        wire, head, _ = join(edge, b"/refuse")
        with wire, contextlib.suppress(OSError):
            wire.sendall(frame(1, b"too early"))
            read(wire, 1)
        score.judge("a region that refuses gets no frames", head.startswith(b"HTTP/1.1 403") and not eu.seen, repr(head))

        client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as wire:
            wire.sendall(client.send(Request(host="acme.app.example", target="/messages")))
            heard = b""
            texts, got, pongs, closed = ["a", "\u20ac" * 70000, ""], [], 0, None
            partial = ""
            while closed is None:
                data = wire.recv(65536)
                if not data:
                    break
                heard += data
                client.receive_data(data)
                for event in client.events():
                    if isinstance(event, AcceptConnection):
                        for text in texts:
                            wire.sendall(client.send(TextMessage(text)))
                        wire.sendall(client.send(Ping(b"p")))
                    elif isinstance(event, TextMessage):
                        partial += event.data
                        if event.message_finished:
                            got.append(partial)
                            partial = ""
                    elif isinstance(event, Pong):
                        pongs += 1
                        wire.sendall(client.send(CloseConnection(1001, "bye")))
                    elif isinstance(event, CloseConnection):
                        closed = event.code
        score.judge("wsproto on both ends agrees", (got, pongs, closed) == (texts, 1, 1001), f"{len(got)} {pongs} {closed} {heard[:300]!r}")
    score.end()


if __name__ == "__main__":
    main()
