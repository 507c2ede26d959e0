"""The requests of gunicorn and llhttp, sent raw: what their authors call unsound is refused and no region sees a whole
request of it; what they call sound arrives once for each answer, or is refused by a stricter rule that
`requests_stricter.toml` names in our words.

usage: requests_suite.py gunicorn FOLDER | llhttp FOLDER
"""
import pathlib
import re
import sys
import tomllib

import requests_corpora
from world import TENANT, Score, exchange, next_request, statuses, world

LISTED = tomllib.loads(pathlib.Path(__file__).with_name("requests_stricter.toml").read_text())


HOST = b"Host: " + TENANT.encode() + b"\r\n"
FIRST_LINE = re.compile(rb"(?m)^(?!PROXY )([!-~]+ )(https?://[a-z.]+(?::\d+)?(?=[/? ]))?([^\r\n]* HTTP/1\.[01]\r\n|[^\r\n]*\r\n)")


def addressed(raw):
    """The same bytes for our tenant: the first line of each head is followed by a Host that names it, in the place of
    the one that was there; a target in absolute form names it too."""
    if raw.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
        end = 16 + int.from_bytes(raw[14:16], "big")
        return raw[:end] + addressed(raw[end:])
    first = FIRST_LINE.search(raw)
    if not first:
        return raw
    parts, at = [], 0
    for line in FIRST_LINE.finditer(raw):
        if line.start() != first.start() and b" HTTP/1." not in line[0]:
            continue
        scheme = line[2] and line[2].split(b"//")[0] + b"//" + TENANT.encode()
        parts += [raw[at : line.start()], line[1], scheme or b"", line[3], HOST]
        at = line.end()
        end = raw.find(b"\r\n\r\n", at - 2)
        own = re.compile(rb"(?im)^host:[^\r\n]*\r\n").search(raw, at, end + 2 if end >= 0 else len(raw))
        if own:
            parts.append(raw[at : own.start()])
            at = own.end()
    return b"".join(parts + [raw[at:]])


def whole(connections):
    """How many whole requests these connections carried, and how many bytes there are in all."""
    count = 0
    for data in connections:
        at = 0
        while True:
            request, at = next_request(data, at)
            if request is None:
                break
            count += 1
    return count, sum(map(len, connections))


def judge(score, port, origins, name, raw, sound, key):
    answer, closed = exchange(port, raw, seconds=3)
    seen = [data for origin in origins for data in origin.take()]
    count, size = whole(seen)
    found = statuses(answer)
    what = f"answers {found}, {'closed' if closed else 'left open'}, {count} whole requests, {size} bytes at regions"
    listed = LISTED.get(sys.argv[1], {}).get(key)
    refused = closed and (not found or 400 <= found[-1] < 500)
    if sound:
        forwarded = count == len(found) >= 1 and set(found) == {200}
        right = forwarded if listed is None else (refused and count == found.count(200))
        if listed is not None and forwarded:
            what += "; it is listed as refused and passes now: take it off the list"
    elif listed is not None and raw == addressed(raw):
        right = count == found.count(200) > 0
        if count == 0:
            what += "; it is listed as let through and is refused now: take it off the list"
    elif listed is not None:
        right = count == found.count(200)
    else:
        # Where the fault is in a body, its head has gone already: then the request ends without its end.
        right = count == 0 and 200 not in found and closed
    score.judge(name, right, what + f": {raw[:200]!r}")
    return listed


def main(which, folder):
    score = Score(which)
    cases = {"gunicorn": requests_corpora.gunicorn, "llhttp": requests_corpora.llhttp}[which](folder)
    listed, unjudged, names = set(), 0, set()
    settings = dict(
        limits='header_timeout = "1s"\nidle_timeout = "1s"\n[trust]\nproxies = ["127.0.0.1/32"]',
        listeners=["", "proxy_protocol = true"],
    )
    with world(**settings) as (edge, eu, us):
        for case in cases:
            if case.sound is None:
                unjudged += 1
                continue
            names.add(case.name)
            variants = [("", case.raw)] if not case.sound else []
            variants.append((" (to our tenant)", addressed(case.raw)))
            for suffix, raw in variants:
                key = case.name
                # What gunicorn calls pp begins with the PROXY protocol, which only the second listener speaks.
                port = edge.ports["/pp_" in case.name]
                if judge(score, port, (eu, us), case.name + suffix, raw, case.sound, key):
                    listed.add(key)
            asked = b"POST /after HTTP/1.1\r\nHost: globex.app.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            plain, _ = exchange(edge.port, asked)
            arrived = [data for data in us.take() if data.startswith(b"POST /after ")]
            if statuses(plain) != [200] or len(arrived) != 1 or not edge.is_alive():
                score.judge(case.name + ", the request after it", False, repr(plain))
        unknown = set(LISTED.get(which, {})) - names
        score.judge("the list names cases that exist", not unknown, str(sorted(unknown)))
    print(f"{which}: {len(cases)} cases, {unjudged} of them for lenient modes and not judged, {len(listed)} as listed")
    score.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
