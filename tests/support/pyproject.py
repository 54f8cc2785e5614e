"""What pyproject.toml says of the distribution."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PATH = Path(__file__).parents[2] / "pyproject.toml"


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(_PATH.read_text())["project"]
    return table
