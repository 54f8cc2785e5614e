"""The command: see :mod:`tests.chaos.command`."""

from __future__ import annotations

from tests.chaos.command import main

if __name__ == "__main__":
    raise SystemExit(main())
