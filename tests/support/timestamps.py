"""A time-stamp authority on the loopback interface, made of ``openssl ts``."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = made-up authority
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[stamps]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = tsa1
[tsa1]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class TimeStampAuthority:
    """Its certificate is ``ca.pem``; ``answer`` and ``status`` replace what it would say."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.url = ""
        self.answer: bytes | None = None
        self.status = 200
        self.requests: list[bytes] = []
        (folder / "openssl.cnf").write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-extensions", "ca")
        self._openssl("req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr")
        self._openssl(
            *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-days", "30"),
            *("-out", "tsa.pem", "-extfile", "openssl.cnf", "-extensions", "stamps"),
        )

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def stamp(self, request: bytes) -> bytes:
        (self.folder / "request.tsq").write_bytes(request)
        self._openssl("ts", "-reply", "-queryfile", "request.tsq", "-out", "answer.tsr")
        return (self.folder / "answer.tsr").read_bytes()

    def _openssl(self, command: str, *arguments: str) -> None:
        config = [] if command == "x509" else ["-config", "openssl.cnf"]
        run = ["openssl", command, *arguments, *config]
        done = subprocess.run(run, cwd=self.folder, capture_output=True, timeout=60, check=False, text=True)
        assert done.returncode == 0, done.stderr


@contextmanager
def serving(authority: TimeStampAuthority) -> Iterator[str]:
    """Serve an authority over HTTP, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            authority.requests.append(request)
            assert self.headers["Content-Type"] == "application/timestamp-query"
            answer = authority.stamp(request) if authority.answer is None else authority.answer
            self.send_response(authority.status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
        yield authority.url
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
