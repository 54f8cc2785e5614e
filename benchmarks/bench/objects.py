"""moto's S3 API in a process of its own, empty or with `bench.made_archive` in it.

It prints its port as JSON when it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import logging

from bench.made_archive import BUCKET, objects
from bench.processes import serve_until_closed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=0, help="of the made-up archive (0)")
    hours = parser.parse_args().hours

    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    if hours:
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        backend.create_bucket(BUCKET, "us-east-1")
        for key, body in objects(hours):
            backend.put_object(BUCKET, key, body)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    serve_until_closed(server.get_host_and_port()[1])


if __name__ == "__main__":
    main()
