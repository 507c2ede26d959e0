"""The bar chart of one run, as SVG."""

from html import escape

PANELS = [
    ("CPU per request, closed load (µs)", "cpu_closed_us", "{:.1f}"),
    ("CPU per request at the fixed rate (µs)", "cpu_rate_us", "{:.1f}"),
    ("requests per second on one core", "rps", "{:.0f}"),
    ("p99 at the fixed rate (µs)", "p99_us", "{:.0f}"),
    ("memory after the load (MiB)", "memory_mib", "{:.1f}"),
    ("memory per idle connection (KiB)", "idle_kib", "{:.1f}"),
]
NAMES = {"h1": "HTTP/1.1", "tls": "HTTP/1.1 over TLS", "h2": "HTTP/2 over TLS"}
WIDTH, LABEL, BAR, GAP = 900, 150, 16, 8
PANEL = WIDTH // 2


def draw(result):
    parts, top = [], 56
    for protocol, seen in result["protocols"].items():
        rows = list(seen["summary"].items())
        parts.append(text(16, top, NAMES[protocol], 15, "bold"))
        top += 16
        height = len(rows) * (BAR + GAP) + 44
        for at, (title, key, form) in enumerate(PANELS):
            left, above = (at % 2) * PANEL, top + (at // 2) * height
            parts.append(panel(left, above, title, [(name, row["label"], row.get(key)) for name, row in rows], form))
        top += (len(PANELS) + 1) // 2 * height + 24
    about = result["machine"]
    first = next(iter(result["protocols"].values()))["summary"].values()
    versions = "; ".join(dict.fromkeys(row["version"] for row in first))
    parts.append(text(16, 22, "One worker on one core, 100,000 tenants by host name: the same job for everybody"
                      .replace("100,000", f"{result['asked']['tenants']:,}"), 16, "bold"))
    parts.append(text(16, top, f"{about['cpu']}, Linux {about['kernel']}, {about['date']}, source {about['source']}", 11))
    parts.append(text(16, top + 16, versions, 11))
    parts.append(text(16, top + 32, "Shorter is better, but for requests per second. Medians of "
                      f"{result['asked']['rounds']} interleaved rounds.", 11))
    height = top + 48
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'font-family="system-ui, sans-serif">\n<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def panel(left, top, title, rows, form):
    most = max((value for _, _, value in rows if value), default=1)
    room = PANEL - LABEL - 90
    out = [text(left + 16, top + 16, title, 12, "bold")]
    for at, (name, label, value) in enumerate(rows):
        y = top + 28 + at * (BAR + GAP)
        out.append(text(left + 16, y + 12, label, 12))
        if value is None:
            out.append(text(left + LABEL, y + 12, "not measured", 12))
            continue
        width = max(1, round(value / most * room))
        colour = "#0b6e99" if name.startswith("rhumb") else "#b9c2c9"
        out.append(f'<rect x="{left + LABEL}" y="{y}" width="{width}" height="{BAR}" rx="2" fill="{colour}"/>')
        out.append(text(left + LABEL + width + 6, y + 12, form.format(value), 12))
    return "\n".join(out)


def text(x, y, what, size, weight="normal"):
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="#222">{escape(what)}</text>'
