"""Reads two public collections of requests, in the packages that carry them, into bytes with a mark.

Neither is kept in this repository: `tests/suites/fetch` gets them from PyPI.
"""
import pathlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One case: its name, its bytes, and whether its authors call it sound (None: they have no one mind)."""

    name: str
    raw: bytes
    sound: bool | None


def gunicorn(package):
    """gunicorn's requests: one file each, lines joined, escapes written out."""
    found = []
    for kind in ("valid", "invalid"):
        folder = pathlib.Path(package, "tests", "requests", kind)
        for path in sorted(folder.glob("*.http")):
            text = path.read_bytes().replace(b"\n", b"")
            for written, meant in ((b"\\r\\n", b"\r\n"), (b"\\0", b"\0"), (b"\\n", b"\n"), (b"\\t", b"\t")):
                text = text.replace(written, meant)
            raw = re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text)
            found.append(Case(f"{kind}/{path.stem}", raw, kind == "valid"))
    return found


def llhttp(package):
    """llhttp's requests: blocks of Markdown with what its parser logs. Its lenient modes are no mark for a proxy."""
    found = []
    for path in sorted(pathlib.Path(package, "vendor", "llhttp", "test", "request").glob("*.md")):
        title, mode, block = "", "", None
        for line in path.read_text().split("\n"):
            if block is not None and not line.startswith("```"):
                block.append(line)
            elif line.startswith("#"):
                title = line.strip("# ")
            elif line.startswith("<!-- meta="):
                mode = re.search(r'"type": *"([^"]+)"', line)[1]
            elif line.startswith("```http"):
                block, fence = [], "http"
            elif line.startswith("```log"):
                block, fence = [], "log"
            elif line.startswith("```") and block is not None:
                if fence == "http":
                    raw = _written_out("\n".join(block))
                else:
                    failed = any("error code=" in line for line in block)
                    sound = (not failed) if mode == "request" else None
                    found.append(Case(f"{path.stem}/{mode}/{title}", raw, sound))
                block = None
    return found


def _written_out(text):
    text = text.replace("\\\n", "").replace("\n", "\r\n")
    for written, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(written, meant)
    text = re.sub(r"\\x([0-9a-fA-F]{1,2})", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda found: chr(int(found[1], 8)), text)
    # The one expression that stands in the blocks repeats a letter.
    text = re.sub(r"\$\{'(.)'\.repeat\((\d+)\)\}", lambda found: found[1] * int(found[2]), text)
    return text.encode("latin-1", "replace")
