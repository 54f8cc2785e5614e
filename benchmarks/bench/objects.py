"""An S3 API in a process of its own: moto's server. Prints its port as JSON, ends when its standard input does."""

from __future__ import annotations

import json
import logging
import sys


def main() -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(json.dumps({"port": server.get_host_and_port()[1]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
