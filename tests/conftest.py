"""What every test needs: an Airflow home of its own, deleted at the end, and how many examples Hypothesis draws."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

# Set when this file is loaded, since Airflow reads it at its first import; one a process, since xdist's workers would
# share a database otherwise.
_home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Airflow 3.2 runs no task in a process without it, not even in `dag.test()`.
os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "made-up-secret-of-the-tests-of-64-bytes-since-its-key-is-so-long-"

pytest_plugins = ["airflow_provider_curation.simulator.pytest_plugin"]

# No deadline for an example, since a machine that runs other tests beside it is slow. The same examples every run, so
# that a failure comes from the change. HYPOTHESIS_PROFILE=explore draws new ones, and more; quick draws a few.
settings.register_profile(
    "repeatable",
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("explore", parent=settings.get_profile("repeatable"), max_examples=400, derandomize=False)
settings.register_profile("quick", parent=settings.get_profile("repeatable"), max_examples=4)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
