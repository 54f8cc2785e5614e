"""The command: ``python -m airflow_provider_curation.simulator``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_curation.simulator.faults import Fault
from airflow_provider_curation.simulator.flags import add_flags, number, settings_from
from airflow_provider_curation.simulator.server import Simulator

_DESCRIPTION = """
Serve the JFrog Curation audit-events endpoint with made-up events, over HTTP, until Ctrl-C or SIGTERM.

The default is a healthy server, open to everyone, with a million events in the last 30 days. Each flag is something
that real servers do differently, or a way to break the server.
"""
_EPILOG = f"""
TIME is ISO 8601 with a zone (2026-03-09T14:51:03Z) or a date (midnight UTC). DURATION is a number and a unit: 90s, 5m,
168h, 30d; "none" for no limit. Latencies and stalls are in seconds. Lists are separated by commas.
CHANGE is insert@TIME, delete@ID, delete@TIME, hide@FROM/TO or reveal.
FAULT is one of {", ".join(fault.value for fault in Fault)}.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    # Blocked from the start, so that a signal that comes at any time is handled below.
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        simulator = Simulator(settings_from(arguments), host=arguments.host, port=arguments.port)
        simulator.start()
    except ValueError as wrong:
        parser.error(str(wrong))
    except OSError as wrong:
        print(f"{parser.prog}: {wrong}", file=sys.stderr)
        return 1
    port_file: Path | None = arguments.port_file
    try:
        uri = simulator.connection_uri()
        print(f"Curation simulator at {simulator.url} AIRFLOW_CONN_CURATION_DEFAULT='{uri}'", flush=True)
        if port_file is not None:
            _write(port_file, f"{simulator.port}\n")
        signal.sigwait(stop_signals)
    finally:
        simulator.stop()
        if port_file is not None:
            port_file.unlink(missing_ok=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_curation.simulator",
        usage="%(prog)s [--host HOST] [--port PORT] [--port-file PATH] [choices]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port to listen on, 0 for a free one (default: 0)")
    parser.add_argument("--port-file", type=Path, metavar="PATH", help="write the port there once it listens")
    add_flags(parser)
    return parser


def _port(text: str) -> int:
    port = number(text)
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return port


def _write(path: Path, text: str) -> None:
    """Write a file that others wait for, so that it appears complete."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
