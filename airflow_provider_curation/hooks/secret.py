"""Reads the key of pseudonyms from an Airflow connection."""

from __future__ import annotations

from airflow_provider_curation.audit.errors import InvalidArgumentError
from airflow_provider_curation.audit.secret_key import SecretKey
from airflow_provider_curation.compat import AirflowNotFoundException, get_connection, mask_secret


def key_of_connection(conn_id: str, argument: str) -> SecretKey:
    """Return the key that is a connection's password; it is masked in logs.

    :param argument: the operator's argument that names the connection, for errors.
    :raises InvalidArgumentError: if there is no such connection, or its password is missing or could be guessed.
    """
    try:
        password = get_connection(conn_id).password
    except AirflowNotFoundException as error:
        raise InvalidArgumentError(
            f"{argument}={conn_id!r}: there is no such connection. Create one whose password is the key."
        ) from error
    if not password:
        raise InvalidArgumentError(f"{argument}={conn_id!r}: the connection has no password; set it to the key.")
    mask_secret(password)
    return SecretKey(password.encode(), f"{argument}={conn_id!r}")
