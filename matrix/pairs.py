"""Which versions of Airflow and Python are tested together, and why the others are left out."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """A minor version of Airflow and one of Python."""

    airflow: str
    python: str

    @property
    def venv(self) -> str:
        """The folder of its virtual environment."""
        return f".venv-{self.airflow}-py{self.python}"


PAIRS = [
    Pair("2.11", "3.10"),
    Pair("2.11", "3.12"),
    *(Pair("3.0", python) for python in ("3.11", "3.12")),
    *(Pair(airflow, python) for airflow in ("3.1", "3.2", "3.3") for python in ("3.11", "3.12", "3.13")),
]

#: Pairs that the metadata of Airflow excludes, or that would show nothing new.
LEFT_OUT = {
    Pair("2.11", "3.11"): "between the two versions tested here, and `.ci/run` tests what touches Airflow on it",
    Pair("2.11", "3.13"): "Airflow 2.11 requires Python below 3.13",
    Pair("3.0", "3.13"): "Airflow 3.0 requires Python below 3.13",
    **{
        Pair(airflow, "3.10"): "Python 3.10, near the end of its life, is tested with the oldest Airflow"
        for airflow in ("3.0", "3.1", "3.2", "3.3")
    },
}

#: The suites to run for each pair, in this order, with pytest's arguments.
SUITES = {
    "unit": ["tests/unit"],
    "dags": ["tests/integration", "-m", "example_dags and not system"],
    "integration": ["tests/integration", "-m", "not example_dags and not system"],
}
TITLES = {"unit": "unit", "dags": "example DAGs", "integration": "integration"}
