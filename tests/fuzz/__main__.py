"""The command: see :mod:`tests.fuzz.command`."""

from __future__ import annotations

from tests.fuzz.command import main

if __name__ == "__main__":
    raise SystemExit(main())
