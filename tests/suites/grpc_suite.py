"""gRPC by grpcio, asked of a region directly and through the edge: the same outcome both ways.

usage: grpc_suite.py   (needs grpcio)
"""
import threading
import time
from concurrent import futures

import grpc

from world import Score, eventually, free_port, world

BIG = 4 << 20
OPTIONS = [("grpc.max_receive_message_length", 2 * BIG), ("grpc.max_send_message_length", 2 * BIG)]


class Region(grpc.GenericRpcHandler):
    """A region that speaks gRPC, without a schema: messages are bytes."""

    def __init__(self, name):
        self.name, self.calls, self.cancelled, self.left = name, [], threading.Event(), []
        self.port = free_port()
        self.server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[self], options=OPTIONS)
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def service(self, call):
        kind = call.method.rsplit("/", 1)[1]
        self.calls.append(call.method)
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
            "Break": grpc.unary_stream_rpc_method_handler(self.broken),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
        }.get(kind)

    def unary(self, request, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((("first", sent.get("word", "")),))
        context.set_trailing_metadata((("region", self.name), ("last-bin", sent.get("raw-bin", b""))))
        self.left.append(context.time_remaining())
        return request[::-1]

    def down(self, request, context):
        for count in range(int(request)):
            yield b"%d" % count

    def up(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def both(self, requests, context):
        for request in requests:
            yield request.upper()

    def slow(self, request, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        if gone.wait(20):
            self.cancelled.set()
        return b""

    def refuse(self, request, context):
        context.set_trailing_metadata((("why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00fc 100%")

    def broken(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "broken off")

    def endless(self, request, context):
        while context.is_active():
            yield b"tick"
            time.sleep(0.02)


def outcome(call):
    """What a call comes to: its messages, its code, its details, and metadata of ours."""
    try:
        result = call()
        return result
    except grpc.RpcError as error:
        trailing = {key: value for key, value in (error.trailing_metadata() or ()) if key in ("why",)}
        return error.code().name, error.details(), trailing


def unary(channel, method, request=b"", **keys):
    return channel.unary_unary(f"/suite.Echo/{method}")(request, **keys)


def kinds(channel):
    """Each kind of call by name, ready to be made."""
    def with_metadata():
        call = channel.unary_unary("/suite.Echo/Unary")
        metadata = (("word", "a, b;c=\"d\""), ("raw-bin", bytes(range(256))))
        answer, state = call.with_call(b"abc", metadata=metadata, timeout=20)
        trailing = {key: value for key, value in state.trailing_metadata() if key != "region"}
        return answer, dict(state.initial_metadata()).get("first"), trailing.get("last-bin")

    def reads():
        got, state = [], channel.unary_stream("/suite.Echo/Break")(b"", timeout=20)
        try:
            got += list(state)
        except grpc.RpcError as error:
            return len(got), error.code().name, error.details()
        return got

    def cancelled():
        call = channel.unary_unary("/suite.Echo/Slow").future(b"", timeout=20)
        time.sleep(0.3)
        call.cancel()
        return outcome(call.result) if not call.cancelled() else "CANCELLED"

    many = [b"x" * size for size in (0, 1, 5, 1000, 70000)]
    return {
        "unary": lambda: unary(channel, "Unary", b"hello", timeout=20),
        "unary, an empty message": lambda: unary(channel, "Unary", b"", timeout=20),
        "server stream": lambda: list(channel.unary_stream("/suite.Echo/Down")(b"200", timeout=20)),
        "server stream of nothing": lambda: list(channel.unary_stream("/suite.Echo/Down")(b"0", timeout=20)),
        "client stream": lambda: channel.stream_unary("/suite.Echo/Up")(iter(many), timeout=20),
        "bidirectional stream": lambda: list(channel.stream_stream("/suite.Echo/Both")(iter(many), timeout=20)),
        "metadata, text and binary, both ways": with_metadata,
        "4 MiB there and back": lambda: len(unary(channel, "Unary", bytes(BIG), timeout=60)),
        "deadline": lambda: unary(channel, "Slow", b"", timeout=0.5),
        "cancelled by the client": cancelled,
        "refused in trailers alone": lambda: unary(channel, "Refuse", b"", timeout=20),
        "broken off in the stream": reads,
        "a method that is not there": lambda: unary(channel, "Nothing", b"", timeout=20),
    }


def comparable(made):
    """Details of a deadline are the library's own words with times in them."""
    if isinstance(made, tuple) and made and made[0] == "DEADLINE_EXCEEDED":
        return made[:1]
    return made


def main():
    score = Score("grpc")
    eu, us = Region("eu"), Region("us")
    settings = dict(listeners=["h2c = true"], region_keys="http = 2", regions=(eu.port, us.port))
    with world(**settings) as (edge, _, _):
        def to(port, host):
            return grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS + [("grpc.default_authority", host)])

        direct, through = to(eu.port, "acme.app.example"), to(edge.port, "acme.app.example")
        plain, proxied = kinds(direct), kinds(through)
        for name in plain:
            wanted = comparable(outcome(plain[name]))
            eu.cancelled.clear()
            made = comparable(outcome(proxied[name]))
            score.judge(name, made == wanted, f"{str(made)[:300]} through the edge, {str(wanted)[:300]} without")
            if name == "cancelled by the client":
                score.judge("the region learns of it", eu.cancelled.wait(10))
        before = len(us.calls)
        _, state = to(edge.port, "globex.app.example").unary_unary("/suite.Echo/Unary").with_call(b"", timeout=20)
        region = dict(state.trailing_metadata()).get("region")
        score.judge("a call is a write and goes to the owner", (region, len(us.calls) - before) == ("us", 1), region)
        del eu.left[:]
        unary(through, "Unary", b"", timeout=7)
        score.judge("the region gets what is left of the deadline", bool(eu.left) and 0 < eu.left[0] < 7.1, str(eu.left))
        nobody = outcome(lambda: unary(to(edge.port, "nobody.app.example"), "Unary", b"", timeout=20))
        score.judge("an unknown tenant is NOT_FOUND", nobody[0] == "NOT_FOUND", str(nobody))

        stream = through.unary_stream("/suite.Echo/Endless")(b"", timeout=60)
        first = next(stream)
        stopped = us.server.stop(None)
        gone = eu.server.stop(3)  # GOAWAY at once; the stream may go on for 3 s
        ticks = [first]
        code = None
        try:
            for message in stream:
                ticks.append(message)
        except grpc.RpcError as error:
            code = error.code().name
        stopped.wait()
        gone.wait()
        named = code in ("UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN")
        score.judge("a stream outlives the region's GOAWAY until it is cut", len(ticks) > 20 and named, f"{len(ticks)} {code}")
        late = outcome(lambda: unary(through, "Unary", b"", timeout=20))
        score.judge("with the owner gone it is UNAVAILABLE", late[0] == "UNAVAILABLE", str(late))
        score.judge("the edge lives", edge.is_alive())
    score.end()


if __name__ == "__main__":
    main()
