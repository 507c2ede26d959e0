#!/usr/bin/env python3
"""Fills the folders from which fuzzing starts: corpora.py OUT [GUNICORN LLHTTP]

OUT/<target>/ gets what lies in the repository: the attack cases, the sample table. With the unpacked source packages of
gunicorn and of aiohttp (for llhttp's cases), which tests/fuzz/run fetches, their requests too; those are other
people's work and are not kept here.
"""
import base64
import hashlib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "suites"))
import requests_corpora  # noqa: E402


def keep(folder, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def main(out, gunicorn=None, llhttp=None):
    out = pathlib.Path(out)
    heads = []
    for line in (ROOT / "tests/hostile/cases.jsonl").read_text().splitlines():
        raw = json.loads(line)["raw_b64"]
        if raw:
            heads.append(base64.b64decode(raw))
    if gunicorn:
        heads += [case.raw for case in requests_corpora.gunicorn(gunicorn)]
    if llhttp:
        heads += [case.raw for case in requests_corpora.llhttp(llhttp)]
    for raw in heads:
        if len(raw) <= 8192:
            keep(out / "gate", raw)
        words = raw.split(b" ", 2)
        if len(words) == 3 and len(words[1]) <= 1024:
            for first in range(4):
                keep(out / "target", bytes([first]) + words[1])
    for name in ["conf/routing.toml"]:
        keep(out / "table", (ROOT / name).read_bytes())
    for folder in (ROOT / "tests/fuzz/seeds").iterdir():
        for seed in folder.iterdir():
            keep(out / folder.name, seed.read_bytes())
    print(f"{len(heads)} requests, {sum(1 for _ in out.glob('*/*'))} inputs in {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
