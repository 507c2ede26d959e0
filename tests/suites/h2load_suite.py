"""h2load: bounded load in HTTP/1.1 and HTTP/2, every request answered by the tenant's own region.

usage: h2load_suite.py   (needs h2load)
"""
import re
import subprocess

from world import TENANT, Score, world


def main():
    score = Score("h2load")
    with world(listeners=["h2c = true"]) as (edge, eu, us):
        for name, words in {
            "HTTP/1.1, 10 connections": ["--h1", "-n", "2000", "-c", "10"],
            "HTTP/2, 10 connections, 10 streams each": ["-n", "2000", "-c", "10", "-m", "10"],
            "HTTP/2, 1 connection, 100 streams": ["-n", "2000", "-c", "1", "-m", "100"],
            "HTTP/2 with bodies": ["-n", "500", "-c", "5", "-m", "10", "-d", __file__],
        }.items():
            words = ["h2load", *words, f"--connect-to=127.0.0.1:{edge.port}", f"http://{TENANT}/load"]
            said = subprocess.run(words, capture_output=True, text=True, timeout=180).stdout
            wanted = int(words[words.index("-n") + 1])
            counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
            codes = re.search(r"status codes: (\d+) 2xx", said)
            right = counted and codes and [int(n) for n in counted.groups()] == [wanted, 0, 0, 0] and int(codes[1]) == wanted
            score.judge(name, right, said[-800:])
        arrived = sum(data.count(b" /load HTTP/1.1\r\n") for data in eu.take())
        score.judge("each request arrived once, at home", (arrived, us.take()) == (6500, []), str(arrived))
        score.judge("the edge lives", edge.is_alive())
    score.end()


if __name__ == "__main__":
    main()
