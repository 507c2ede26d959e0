"""httpwg-cli, which tests RFC 9113, against a listener with `h2c = true`.

What fails and is listed in `http2_differs.toml`, with the reason, counts as failed and does not end the suite badly.

usage: http2_suite.py HTTPWG
"""
import os
import pathlib
import re
import subprocess
import sys
import tomllib

from world import Score, world

LISTED = tomllib.loads(pathlib.Path(__file__).with_name("http2_differs.toml").read_text())["differs"]
# The suite asks for its own address.
ANYBODY = dict(sources='{ host = "{tenant}" }', table_keys='[placements.any]\nby = "nearest"', unknown="any")


def ask(words):
    ran = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "SEQUENTIAL": "1"}, timeout=600)
    return re.sub(r"\x1b\[[0-9;]*m", "", ran.stderr + ran.stdout)


def outcomes(said):
    """The names of tests that passed, and of those that failed why."""
    passed = re.findall(r"Test passed: RFC 9113 :: (.+)", said)
    return passed, dict(re.findall(r"Test failed: RFC 9113 :: (.+)\n\s*0: (.+)", said))


def main(httpwg):
    score = Score("http2")
    with world(listeners=["h2c = true"], **ANYBODY) as (edge, _, _):
        words = [httpwg, "-a", f"127.0.0.1:{edge.port}", "--connect-timeout", "10000", "--frame-timeout", "1500", "-v"]
        said = ask(words)
        passed, failed = outcomes(said)
        # Now and then one of its tests ends without an outcome; that says nothing of us, so it is asked alone.
        for name in set(re.findall(r"Running test: RFC 9113 :: (.+)", said)) - set(passed) - failed.keys():
            print(f"  without an outcome, so asked once more, alone: {name}")
            more_passed, more_failed = outcomes(ask([*words, "-f", name]))
            passed += more_passed
            failed |= more_failed
        alive = edge.is_alive()
    total = re.search(r"Passed (\d+)/(\d+)", said)
    if not total:
        sys.exit(f"httpwg came to no end:\n{said[-2000:]}")
    score.passed += len(passed)
    for name, why in failed.items():
        if name in LISTED:
            print(f"  as listed: {name}: {why}\n    {LISTED[name]}")
        else:
            score.judge(name, False, why)
    for name in LISTED.keys() & set(passed):
        print(f"  listed, and passes now: {name}")
    score.judge("every test has an outcome", len(passed) + len(failed) == int(total[2]), total[0])
    score.judge("the edge lives", alive)
    print(f"http2: httpwg says {total[0]}; {len(failed)} failed, {len(failed.keys() & LISTED.keys())} of them as listed")
    score.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
