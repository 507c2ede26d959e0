"""slowhttptest: slow heads (-H), slow bodies (-B), slow readers (-X), 200 connections each, while an ordinary client asks
all the time.

usage: slow_suite.py   (needs slowhttptest)
"""
import http.client
import re
import subprocess
import threading
import time

from world import Score, eventually, world

# Its requests carry the edge's address for a name, so the path names the tenant.
BY_PATH = dict(sources='{ path = "/t/{tenant}" }')

LIMITS = 'header_timeout = "3s"\nidle_timeout = "3s"'


class Ordinary(threading.Thread):
    """A client that asks again and again; how long it waited at most, and what went wrong."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.asked, self.errors, self.longest, self.done = port, 0, [], 0.0, threading.Event()

    def run(self):
        while not self.done.is_set():
            began = time.monotonic()
            try:
                client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                client.request("GET", "/t/acme/ordinary")
                status = client.getresponse().status
                if status != 200:
                    self.errors.append(status)
                client.close()
            except OSError as error:
                self.errors.append(repr(error))
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - began)
            self.done.wait(0.05)


def main():
    score = Score("slow")
    ways = {
        "slow heads": ("/t/acme/", ["-H", "-i", "1", "-x", "24"]),
        "slow bodies": ("/t/acme/", ["-B", "-t", "POST", "-i", "1", "-s", "8192", "-x", "10"]),
        "slow readers": ("/t/acme/big", ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "8", "-k", "1"]),
    }
    with world(limits=LIMITS, **BY_PATH) as (edge, eu, us):
        idle = edge.rss()
        for name, (path, words) in ways.items():
            victim = Ordinary(edge.port)
            victim.start()
            # Its own report says when a connection ended for the client; what counts is when the edge let go of it.
            words = ["slowhttptest", *words, "-c", "200", "-r", "100", "-l", "20", "-p", "5",
                     "-u", f"http://127.0.0.1:{edge.port}{path}"]  # fmt: skip
            with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as tool:
                out = []
                reader = threading.Thread(target=lambda: out.append(tool.stdout.read()), daemon=True)
                reader.start()
                began, open_now = time.monotonic(), []
                while tool.poll() is None and time.monotonic() < began + 60:
                    open_now.append(int(edge.metric("rhumb_connections")))
                    time.sleep(0.2)
                tool.kill()
                reader.join(5)
            victim.done.set()
            victim.join(30)
            ended = re.search(r"Exit status: (.+)", re.sub(r"\x1b\[[0-9;]*m", "", "".join(out)))
            most, left = max(open_now), min(open_now[-5:])
            if ended and ended[1].startswith("No open connections"):
                eventually("the edge has let go of all", lambda: edge.metric("rhumb_connections") <= 2)
                left = 0
            score.judge(f"{name}: the ordinary client saw no error", not victim.errors and victim.asked > 20,
                        f"{victim.asked} asked, {victim.errors[:3]}")  # fmt: skip
            score.judge(f"{name}: they came, and none outlives its deadline", most > 100 and left <= 2,
                        f"{most} connections at most, {left} at the end")  # fmt: skip
            print(f"  {name}: slowhttptest says {ended and ended[1]}; at most {most} connections, {left} at its end; the "
                  f"ordinary client: {victim.asked} requests, the longest {victim.longest:.2f} s; memory {edge.rss()} KiB, "
                  f"{idle} KiB before")  # fmt: skip
            eu.take(), us.take()
        score.judge("the edge lives", edge.is_alive())
    score.end()


if __name__ == "__main__":
    main()
