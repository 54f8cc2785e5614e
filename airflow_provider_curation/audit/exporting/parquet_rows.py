"""Turns an event's JSON into a row of the Parquet schema: what has no column, or does not fit it, goes to ``other``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

import msgspec

from airflow_provider_curation.audit.endpoint import AUDIT_PATH
from airflow_provider_curation.audit.errors import Asked, UnexpectedAnswerError

#: Text columns, in the order in which a live server returns its fields, followed by fields of newer servers.
TEXT_FIELDS: Final = (
    "action",
    "package_type",
    "package_name",
    "package_version",
    "package_url",
    "reason",
    "event_origin",
    "curated_repository_server_name",
    "curated_repository_name",
    "curated_project",
    "username",
    "user_mail",
    "origin_repository_server_name",
    "origin_repository_name",
    "origin_project",
    "public_repo_url",
    "public_repo_name",
    "ecosystem",
)
POLICY_TEXT_FIELDS: Final = ("policy_name", "condition_name", "condition_category", "result", "policy_reason")
_INT64: Final = range(-(2**63), 2**63)
#: Bytes of a time as servers write it, with its quotes: to the second, in UTC, with Z.
_PLAIN_TIME: Final = len(b'"2026-03-09T14:51:03Z"')
_FINER_DIGITS: Final = re.compile(rb"(\.\d{6})\d+")
_TEXT: Final = frozenset(TEXT_FIELDS)
_KNOWN: Final = _TEXT | {"id", "created_at", "ondemand", "policies"}
_POLICY_KINDS: Final[Mapping[str, type]] = {
    **dict.fromkeys(POLICY_TEXT_FIELDS, str),
    "policy_id": int,
    "dry_run": bool,
}

_Fields = dict[str, msgspec.Raw]
_decode_raw = msgspec.json.Decoder(_Fields).decode
_decode_policies = msgspec.json.Decoder(list[_Fields]).decode


def surprises(line: bytes) -> str | None:
    """Return an event's unknown fields as JSON, empty if it has none.

    ``None`` means that Arrow cannot read the event itself, so that it needs :func:`row`.
    """
    fields = _decode_raw(line)
    moment, policies = bytes(fields.get("created_at", b"")), fields.get("policies")
    if len(moment) != _PLAIN_TIME or moment[-2:] != b'Z"':
        return None
    if policies is not None and bytes(policies) != b"null":
        try:
            if any(not _POLICY_KINDS.keys() >= policy.keys() for policy in _decode_policies(policies)):
                return None
        except msgspec.ValidationError:
            return None
    unknown = fields.keys() - _KNOWN
    return (_json({name: raw for name, raw in fields.items() if name in unknown}) or "") if unknown else ""


def row(line: bytes) -> dict[str, Any]:
    """Return any event as a row.

    :raises UnexpectedAnswerError: for an event whose id or time does not fit its column.
    """
    fields = _decode_raw(line)
    number, written = _id(fields.pop("id", None)), fields.pop("created_at", None)
    row: dict[str, Any] = {"id": number, "created_at": _moment(number, written)}
    other: _Fields = {}
    if written is not None and len(bytes(written)) != _PLAIN_TIME:
        # Digits beyond microseconds and other offsets would be lost.
        other["created_at"] = written
    for name, raw in fields.items():
        if name in _TEXT:
            _put(row, other, name, raw, str)
        elif name == "ondemand":
            _put(row, other, name, raw, bool)
        elif name == "policies":
            _put_policies(row, other, raw)
        else:
            other[name] = raw
    row["other"] = _json(other)
    return row


def _put(row: dict[str, Any], other: _Fields, name: str, raw: msgspec.Raw, kind: type) -> None:
    try:
        value = msgspec.json.decode(raw, type=kind | None)
    except msgspec.DecodeError:
        other[name] = raw
    else:
        if kind is int and value is not None and value not in _INT64:
            other[name] = raw
        else:
            row[name] = value


def _put_policies(row: dict[str, Any], other: _Fields, raw: msgspec.Raw) -> None:
    if bytes(raw) == b"null":
        return
    try:
        policies = _decode_policies(raw)
    except msgspec.ValidationError:
        other["policies"] = raw
        return
    row["policies"] = [_policy(policy) for policy in policies]


def _policy(fields: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    other: _Fields = {}
    for name, raw in fields.items():
        if name in _POLICY_KINDS:
            _put(policy, other, name, raw, _POLICY_KINDS[name])
        else:
            other[name] = raw
    policy["other"] = _json(other)
    return policy


def _json(other: Mapping[str, msgspec.Raw]) -> str | None:
    """Return fields as a JSON object, their values as the server wrote them."""
    return msgspec.json.encode(other).decode() if other else None


def _id(raw: msgspec.Raw | None) -> int:
    try:
        number = msgspec.json.decode(raw if raw is not None else b"null", type=int)
    except msgspec.ValidationError:
        number = None
    if number is None or number not in _INT64:
        shown = "none" if raw is None else repr(bytes(raw)[:40])
        raise UnexpectedAnswerError(
            Asked(AUDIT_PATH), f"an event whose id does not fit into 64 bits ({shown}), which Parquet cannot hold"
        )
    return int(number)


def _moment(number: int, raw: msgspec.Raw | None) -> datetime:
    try:
        # Cut off digits beyond microseconds: rounded up, an event could leave its day.
        exact = _FINER_DIGITS.sub(rb"\1", bytes(raw if raw is not None else b"null"))
        moment = msgspec.json.decode(exact, type=datetime)
        if moment.tzinfo is None:
            raise ValueError("no offset")
        return moment.astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise UnexpectedAnswerError(
            Asked(AUDIT_PATH), f"an event (id {number}) whose created_at is not a time that Parquet can hold"
        ) from error
