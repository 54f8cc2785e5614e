"""What the demo is made of: a Curation tenant and an S3 API, as threads of this process, and a key that signs."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from evidence import Day

from airflow_provider_curation.audit.evidence.keys import PrivateKey
from airflow_provider_curation.simulator import Simulator, SimulatorSettings

BUCKET = "audit-archive"
TOKEN = "made-up-access-token"
EVENTS = 1_000_000
#: How long the export of a day should take, so that its log has a line of progress, which comes every ten seconds.
_SECONDS_TO_WATCH = 11.5


class SigningKey:
    """A private key that lasts as long as the demo."""

    def __init__(self) -> None:
        made = Ed25519PrivateKey.generate()
        self._pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.public_key = PrivateKey.of_pem(self._pem, "the made-up key").public_key

    def connection_json(self) -> str:
        """The Airflow connection, as JSON."""
        return json.dumps({"conn_type": "generic", "extra": {"private_key": self._pem}})


def made_up_tenant(day: Day) -> Simulator:
    """Return a healthy server with a million events in the last 30 days, which requires a token and answers slowly."""
    settings = SimulatorSettings(events=EVENTS, end=datetime.now(timezone.utc), tokens=(TOKEN,))
    pages = math.ceil(Simulator(settings).count(day.start, day.end) / 2000)
    # Two counts and the first page; the other pages come four at a time.
    rounds = 3 + math.ceil((pages - 1) / 4)
    return Simulator(replace(settings, latency=round(_SECONDS_TO_WATCH / rounds, 1)))


class S3Server:
    """The address of the S3 API, and how to reach it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connection_json(self) -> str:
        """Return the Airflow connection as JSON."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": "made-up", "password": "made-up", "extra": extra})

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
        )


@contextmanager
def made_up_s3() -> Iterator[S3Server]:
    """Run an S3 API with an empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        s3 = S3Server(f"http://{host}:{port}")
        s3.client().create_bucket(Bucket=BUCKET)
        yield s3
    finally:
        server.stop()
