"""The attack cases that are bytes, sent to Rhumb, HAProxy and nginx, each before recording regions: what Rhumb lets
through is no more than what one of the two lets through, request by request, or it is listed with its reason.

usage: differential_suite.py   (needs haproxy, nginx)
"""
import base64
import json
import pathlib
import re
import subprocess
import tempfile

from world import ROOT, Origin, Score, eventually, exchange, free_port, next_request, world

SOURCES = '{ host = "{tenant}.example.test" }, { header = "X-Tenant-ID" }, { path = "/t/{tenant}" }'

# Rows in which more passes here than with either, and why that is right.
LISTED = {"FW-02": "its head is below our 32 KiB and above theirs; the field itself is taken off and set anew"}

HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 2s
  timeout client 2s
  timeout server 2s
  timeout http-request 2s
frontend edge
  bind 127.0.0.1:{port}
  default_backend region
backend region
  server eu 127.0.0.1:{region}
"""

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_header_timeout 2s;
  client_body_timeout 2s;
  keepalive_timeout 2s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_pass http://127.0.0.1:{region};
    }}
  }}
}}
"""


class Other:
    """Another proxy before a recording region."""

    def __init__(self, name, folder):
        self.name, self.region, self.port = name, Origin(name), free_port()
        config = pathlib.Path(folder, f"{name}.conf")
        text = {"haproxy": HAPROXY, "nginx": NGINX}[name]
        config.write_text(text.format(port=self.port, region=self.region.port, folder=folder))
        words = {"haproxy": ["haproxy", "-db", "-f", str(config)], "nginx": ["nginx", "-c", str(config)]}[name]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        eventually(f"{name} answers", lambda: self._answers(asked))
        self.region.take()

    def _answers(self, asked):
        try:
            return exchange(self.port, asked)[0].startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.region.close()


def requests(connections):
    """Method and target of each whole request, and how many heads came without a whole body."""
    found = []
    for data in connections:
        at = 0
        while True:
            head, after = next_request(data, at)
            if head is None:
                break
            found.append(b" ".join(head.split(b"\r\n")[0].split(b" ")[:2]).decode("latin-1"))
            at = after
    return sorted(found)


def plain(target):
    """Spellings of one path that only differ in escapes are one here."""
    text = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), target)
    return re.sub(r"https?://[^/ ]*", "", text)


def main():
    score = Score("differential")
    rows = [json.loads(line) for line in (ROOT / "tests/hostile/cases.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["raw_b64"] and row["class"] not in ("AD",)]
    stricter = same = 0
    with tempfile.TemporaryDirectory() as folder:
        others = [Other(name, folder) for name in ("haproxy", "nginx")]
        try:
            with world(limits='header_timeout = "2s"\nidle_timeout = "2s"', sources=SOURCES) as (edge, eu, us):
                for row in rows:
                    raw = base64.b64decode(row["raw_b64"])
                    exchange(edge.port, raw, seconds=2)
                    ours = requests(eu.take() + us.take())
                    theirs = []
                    for other in others:
                        exchange(other.port, raw, seconds=2)
                        theirs.append(requests(other.region.take()))
                    most = max(theirs, key=len)
                    allowed = {plain(one) for found in theirs for one in found}
                    right = len(ours) <= len(most) and {plain(one) for one in ours} <= allowed
                    same += right and len(ours) == len(most)
                    stricter += right and len(ours) < len(most)
                    if not right and row["id"] in LISTED:
                        print(f"  as listed: {row['id']}: {LISTED[row['id']]}")
                        right = True
                    score.judge(row["id"], right, f"{row['desc']}: {ours} here, {theirs[0]} HAProxy, {theirs[1]} nginx")
                score.judge("the edge lives", edge.is_alive())
        finally:
            for other in others:
                other.close()
    print(f"differential: {len(rows)} cases; {same} let through as much as the laxer of the two, {stricter} less")
    score.end()


if __name__ == "__main__":
    main()
