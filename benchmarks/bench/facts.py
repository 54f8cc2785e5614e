"""What the figures were measured on: the machine and the versions, as lines of text."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "airflow-provider-curation",
    "apache-airflow",
    "apache-airflow-providers-amazon",
    "apache-airflow-providers-http",
    "boto3",
    "moto",
    "msgspec",
    "requests",
    "urllib3",
)


def about() -> str:
    """Return the machine and the versions."""
    return f"Machine: {_machine()}\nVersions: {_versions()}\n"


def _machine() -> str:
    """Return the cores that this process may use, processor, memory, system, and the load now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load average {os.getloadavg()[0]:.1f} at the start"
    return f"{cores} cores ({_processor()}), {_memory()}{platform.system()} {platform.machine()}{load}"


def _versions() -> str:
    """Return the versions of Python, of curl, and of the packages that matter."""
    installed = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    return ", ".join([f"Python {platform.python_version()}", *installed, _curl()])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _curl() -> str:
    try:
        said = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no curl"
    return " ".join(said.split()[:2])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return ""
    return f"{total / 1e9:.0f} GB, "
