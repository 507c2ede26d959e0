"""A small world for public suites: recording regions, and the real binary in front of them.

Everything listens on loopback at ports that the system chose, and ends with the `with` block. Tenant `acme` is at home
in region eu, tenant `globex` in region us; each may read in both.
"""
import contextlib
import http.client
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TENANT = "acme.app.example"

TABLE = """
[tenancy]
from = [{sources}]
unknown = "{unknown}"
[regions.eu]
jurisdiction = "eu"
endpoints = ["127.0.0.1:{eu}"]
health.check = "tcp"
{region_keys}
[regions.us]
jurisdiction = "us"
endpoints = ["127.0.0.1:{us}"]
health.check = "tcp"
{region_keys}
{table_keys}
[tenants]
acme = {{ home = "eu", standby = ["us"] }}
t1 = {{ home = "eu", standby = ["us"] }}
t2 = {{ home = "us", standby = ["eu"] }}
globex = {{ home = "us", standby = ["eu"] }}
"""

SETTINGS = """
[edge]
region = "eu"
id = "suites"
{listeners}
[limits]
{limits}
[admin]
address = "127.0.0.1:{admin}"
[table]
path = "routing.toml"
[state]
dir = "state"
[log]
access = "access.log"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binary():
    """The binary under test: $RHUMB, or a debug build of this source."""
    if "RHUMB" in os.environ:
        return os.environ["RHUMB"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug" / "rhumb")


def eventually(what, holds, seconds=30):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.02)


class Origin:
    """A region that keeps every byte, and answers each complete HTTP/1 request with its own name."""

    def __init__(self, name):
        self.name = name
        self.connections = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        kept = bytearray()
        with self._lock:
            self.connections.append((kept, [0]))
        at = 0
        with contextlib.suppress(OSError), connection:
            while True:
                request, end = next_request(bytes(kept), at)
                if request is not None:
                    at = end
                    body = f"region {self.name}\n".encode()
                    if b"/big HTTP/1." in request.split(b"\r\n")[0]:
                        body = bytes(4 << 20)
                    if request.startswith(b"HEAD "):
                        body = b""
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
                        % (len(body), body)
                    )
                    continue
                more = connection.recv(65536)
                if not more:
                    return
                with self._lock:
                    kept += more

    def take(self):
        """All bytes that came since the last call, one entry a connection that carried some; checks carry none."""
        with self._lock:
            found = [bytes(kept[at[0]:]) for kept, at in self.connections if len(kept) > at[0]]
            for kept, at in self.connections:
                at[0] = len(kept)
        return found

    def close(self):
        self._listener.close()


def next_request(data, at):
    """One complete request in the form that Rhumb writes; (None, at): there is none yet."""
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None, at
    head = data[at : end + 4]
    fields = [line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line]
    named = {name.strip().lower(): value.strip() for name, value in fields}
    end += 4
    if b"content-length" in named:
        end += int(named[b"content-length"])
        return (head, end) if len(data) >= end else (None, at)
    if named.get(b"transfer-encoding", b"").lower() == b"chunked":
        while True:
            line = data.find(b"\r\n", end)
            if line < 0:
                return None, at
            size = int(data[end:line].split(b";")[0], 16)
            end = line + 2 + size + 2
            if len(data) < end:
                return None, at
            if size == 0:
                return head, end
    return head, end


class Edge:
    """The binary, with its files in a folder of its own."""

    def __init__(
        self,
        eu,
        us,
        *,
        limits="",
        listeners=None,
        region_keys="",
        table_keys="",
        sources='{ host = "{tenant}.app.example" }',
        unknown="reject",
        files=None,
    ):
        self.folder = tempfile.TemporaryDirectory(prefix="rhumb-suites-")
        self.ports = [free_port() for _ in (listeners or [""])]
        self.port = self.ports[0]
        self.admin = free_port()
        folder = pathlib.Path(self.folder.name)
        for name, text in (files or {}).items():
            (folder / name).write_bytes(text)
        blocks = [
            f'[[listeners]]\naddress = "127.0.0.1:{port}"\n{keys}\n'
            for port, keys in zip(self.ports, listeners or [""])
        ]
        keys = dict(eu=eu, us=us, region_keys=region_keys, table_keys=table_keys, sources=sources, unknown=unknown)
        (folder / "routing.toml").write_text(TABLE.format(**keys))
        keys = dict(listeners="".join(blocks), limits=limits, admin=self.admin)
        (folder / "rhumb.toml").write_text(SETTINGS.format(**keys))
        self.log = open(folder / "log", "w+b")
        self.process = subprocess.Popen(
            [binary(), "run", "-c", str(folder / "rhumb.toml")],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def __enter__(self):
        try:
            eventually("the edge is ready", self._is_ready)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        text = self.stop()
        if "panicked at" in text:
            raise AssertionError(f"the edge panicked:\n{text}")

    def _is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the edge ended:\n{self.said()}")
        try:
            admin = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
            admin.request("GET", "/readyz")
            return admin.getresponse().status == 200
        except OSError:
            return False

    def said(self):
        return pathlib.Path(self.folder.name, "log").read_text(errors="replace")

    def is_alive(self):
        return self.process.poll() is None

    def rss(self):
        """KiB of memory in use."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def metric(self, name):
        """The sum over all series of a metric."""
        admin = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        admin.request("GET", "/metrics")
        lines = admin.getresponse().read().decode().splitlines()
        values = [line.rsplit(" ", 1) for line in lines if line.startswith((name + "{", name + " "))]
        return sum(float(value) for _, value in values)

    def stop(self):
        self.process.kill()
        self.process.wait()
        text = self.said()
        self.log.close()
        self.folder.cleanup()
        return text


@contextlib.contextmanager
def world(regions=None, **keys):
    """Two recording regions and an edge: (edge, eu, us). With `regions`, their ports, those stand behind the edge."""
    eu, us = Origin("eu"), Origin("us")
    try:
        with Edge(*(regions or (eu.port, us.port)), **keys) as edge:
            yield edge, eu, us
    finally:
        eu.close()
        us.close()


def exchange(port, raw, seconds=5.0, half_close=False):
    """Sends bytes on a new connection; returns what came back until the other side closed, and whether it did.

    Where answers came and nothing follows for a while, the connection is left: (bytes, False).
    """
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        with contextlib.suppress(OSError):
            wire.sendall(raw)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
        while True:
            try:
                more = wire.recv(65536)
            except (TimeoutError, socket.timeout):
                return got, False
            except OSError:
                return got, True
            if not more:
                return got, True
            got += more
            wire.settimeout(0.5)


def statuses(answer):
    """The status of each response in these bytes; a 100 Continue is none."""
    found = []
    at = 0
    while answer.startswith(b"HTTP/1.", at):
        end = answer.find(b"\r\n\r\n", at)
        if end < 0:
            break
        head = answer[at:end].split(b"\r\n")
        status = int(head[0].split(b" ")[1])
        length = next((int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")), 0)
        at = end + 4 + (0 if status < 200 or status in (204, 304) else length)
        if status != 100:
            found.append(status)
    return found


class Score:
    """Counts what passed and what did not, and says so in one last line that `run` reads."""

    def __init__(self, suite):
        self.suite, self.passed, self.failed = suite, 0, []

    def judge(self, name, right, why=""):
        if right:
            self.passed += 1
        else:
            self.failed.append(name)
            print(f"  FAILED {name}: {why}")
        return right

    def end(self):
        print(f"{self.suite}: {self.passed} passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed else 0)
