"""testssl.sh and sslscan against a TLS listener: no version below 1.2, no weak suite, nothing that testssl rates above
LOW but what comes of a certificate that nobody on the internet has signed.

usage: tls_suite.py   (needs testssl, sslscan, openssl)
"""
import json
import pathlib
import re
import subprocess
import tempfile

from world import Score, exchange, statuses, world

# What testssl rates above LOW in any certificate made for one run.
OWN_CERTIFICATE = ("cert_chain_of_trust", "cert_crlDistributionPoints_OCSP", "cert_revocation", "overall_grade", "OCSP_stapling", "DNS_CAArecord", "cert_caIssuers", "cert_trust", "cert_notAfter", "cert_expirationStatus", "cert_extlifeSpan", "cert_subjectAltName")


def certificate():
    with tempfile.TemporaryDirectory() as folder:
        key, chain = pathlib.Path(folder, "edge.key"), pathlib.Path(folder, "edge.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
             "-subj", "/CN=acme.app.example", "-addext", "subjectAltName=DNS:acme.app.example",
             "-keyout", str(key), "-out", str(chain)],
            check=True, capture_output=True,
        )  # fmt: skip
        return {"edge.pem": chain.read_bytes(), "edge.key": key.read_bytes()}


def main():
    score = Score("tls")
    listener = 'tls.certificates = [{ chain = "edge.pem", key = "edge.key" }]'
    with world(listeners=[listener, ""], files=certificate()) as (edge, _, _):
        at = f"127.0.0.1:{edge.port}"
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "testssl.json")
            words = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--jsonfile", str(report),
                     "-p", "-s", "-f", "-S", "-U", at]  # fmt: skip
            subprocess.run(words, capture_output=True, timeout=1500, stdin=subprocess.DEVNULL)
            found = json.loads(report.read_text())
        ids = {entry["id"]: entry for entry in found}
        for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            score.judge(f"testssl: no {name}", ids.get(name, {}).get("finding", "").startswith("not offered"), str(ids.get(name)))
        for name in ("TLS1_2", "TLS1_3"):
            score.judge(f"testssl: {name}", ids.get(name, {}).get("finding", "").startswith("offered"), str(ids.get(name)))
        judged = 0
        for entry in found:
            if entry["severity"] in ("OK", "INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL", "WARN"):
                judged += 1
            if entry["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not entry["id"].startswith(OWN_CERTIFICATE):
                score.judge(f"testssl: {entry['id']}", False, f"{entry['severity']}: {entry['finding']}")
        score.judge("testssl: nothing above LOW among its findings", judged > 50, f"only {judged} findings")
        said = subprocess.run(["sslscan", "--no-colour", at], capture_output=True, text=True, timeout=300).stdout
        for name in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
            score.judge(f"sslscan: no {name}", re.search(rf"^{re.escape(name)}\s+disabled", said, re.M) is not None, said[:400])
        suites = re.findall(r"^(?:Preferred|Accepted)\s+(\S+)\s+\d+ bits\s+(\S+)", said, re.M)
        weak = [suite for suite in suites if not re.search(r"GCM|CHACHA20|POLY1305", suite[1])]
        score.judge("sslscan: authenticated encryption alone", bool(suites) and not weak, str(suites))
        after, _ = exchange(edge.ports[1], b"GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n")
        score.judge("the edge serves on", statuses(after) == [200], repr(after))
        print(f"tls: testssl has {judged} findings; suites: {', '.join(sorted({suite[1] for suite in suites}))}")
    score.end()


if __name__ == "__main__":
    main()
