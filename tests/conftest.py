"""Keeps Airflow away from the user's own: every test process has a home of its own, deleted at its end."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Set when this file is loaded, since Airflow reads it at its first import; one a process, since xdist's workers would
# share a database otherwise.
_home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Airflow 3.2 runs no task in a process without it, not even in `dag.test()`.
os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "made-up-secret-of-the-tests-of-64-bytes-since-its-key-is-so-long-"

pytest_plugins = ["airflow_provider_curation.simulator.pytest_plugin"]
