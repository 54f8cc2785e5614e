"""How polls end, and how an error travels from a trigger to its task."""

from __future__ import annotations

from airflow_provider_curation.audit.errors import Asked, UnauthorizedError
from airflow_provider_curation.audit.polling.outcome import describe, revive


def test_an_error_that_travelled_still_explains_itself() -> None:
    error = UnauthorizedError(Asked("/xray"), "401 Unauthorized", status=401)
    revived = revive(describe(error))
    assert type(revived) is UnauthorizedError
    assert str(revived) == str(error)
    assert " ".join(revived.explained()) == str(error)
