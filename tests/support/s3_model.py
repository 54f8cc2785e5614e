"""A model of S3, and an explorer of every order in which the calls of several actors can reach it.

An actor is real code that gets a client of the model. It is deterministic, given the answers it has had, so it needs no
thread: to learn its next call, it is run again from the start with those answers, and suspended by an exception. A
state is what S3 holds and what each actor has been answered; each is visited once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
LONG_AGO = NOW - timedelta(hours=1)
_STATUS = {"NoSuchKey": 404, "NoSuchUpload": 404, "404": 404, "PreconditionFailed": 412, "NotImplemented": 501}


class Version(NamedTuple):
    """A version of an object; a delete marker has no body."""

    id: str
    etag: str
    writer: str
    body: bytes | None


class Open(NamedTuple):
    """An open multipart upload."""

    id: str
    key: str
    owner: int
    writer: str
    body: bytes


@dataclass(frozen=True)
class Store:
    """What S3 holds; a value.

    :param conditional: the operations whose conditions it checks; it ignores those of others.
    :param refuses: the operations whose conditions it answers with ``NotImplemented``.
    """

    conditional: frozenset[str]
    refuses: frozenset[str] = frozenset()
    versioned: bool = False
    objects: tuple[tuple[str, tuple[Version, ...]], ...] = ()
    uploads: tuple[Open, ...] = ()
    #: How many ids were given to each actor.
    given: tuple[int, ...] = ()
    #: Actors whose claims are no longer renewed.
    expired: frozenset[int] = frozenset()

    def current(self, key: str) -> Version | None:
        versions = dict(self.objects).get(key, ())
        return versions[-1] if versions and versions[-1].body is not None else None

    def with_versions(self, key: str, versions: tuple[Version, ...]) -> Store:
        objects = {**dict(self.objects), key: versions}
        return replace(self, objects=tuple(sorted((name, kept) for name, kept in objects.items() if kept)))

    def put(self, key: str, version: Version) -> Store:
        before = dict(self.objects).get(key, ()) if self.versioned else ()
        return self.with_versions(key, (*before, version))

    def new_id(self, actor: int) -> tuple[Store, str]:
        given = list(self.given) + [0] * (actor + 1 - len(self.given))
        given[actor] += 1
        return replace(self, given=tuple(given)), f"{actor}-{given[actor]}"


class Refused(Exception):
    """S3 answers with an error."""


def etag_of(body: bytes, parts: bool = False) -> str:
    return hashlib.md5(body).hexdigest()[:8] + ("-1" if parts else "")


def carry_out(store: Store, actor: int, operation: str, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    """Return what S3 holds after a call, and its answer."""
    if operation in store.refuses and ({"IfMatch", "IfNoneMatch"} & set(asked)):
        raise Refused("NotImplemented")
    return _OPERATIONS[operation](store, actor, asked)


def _check_condition(store: Store, operation: str, asked: dict[str, Any]) -> None:
    if operation not in store.conditional:
        return
    found = store.current(asked["Key"])
    if asked.get("IfNoneMatch") == "*" and found is not None:
        raise Refused("PreconditionFailed")
    if "IfMatch" in asked:
        if found is None:
            raise Refused("NoSuchKey")
        if found.etag != asked["IfMatch"]:
            raise Refused("PreconditionFailed")


def _head(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    found = store.current(asked["Key"])
    if found is None:
        raise Refused("404")
    return store, _describe(store, found)


def _get(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    found = store.current(asked["Key"])
    if found is None:
        raise Refused("NoSuchKey")
    return store, {**_describe(store, found), "Body": found.body}


def _describe(store: Store, found: Version) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "ETag": f'"{found.etag}"',
        "ContentLength": len(found.body or b""),
        "writer": found.writer,
    }
    return {**answer, "VersionId": found.id} if store.versioned else answer


def _put(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    _check_condition(store, "PutObject", asked)
    store, version = store.new_id(actor)
    body = asked["Body"]
    return store.put(asked["Key"], Version(version, etag_of(body), "", body)), {"ETag": f'"{etag_of(body)}"'}


def _delete(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    _check_condition(store, "DeleteObject", asked)
    key, versions = asked["Key"], dict(store.objects).get(asked["Key"], ())
    if "VersionId" in asked:
        return store.with_versions(key, tuple(each for each in versions if each.id != asked["VersionId"])), {}
    if not store.versioned:
        return store.with_versions(key, ()), {}
    store, marker = store.new_id(actor)
    return store.with_versions(key, (*versions, Version(marker, "", "", None))), {}


def _create(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    store, given = store.new_id(actor)
    writer = next(iter(asked.get("Metadata", {}).values()), "")
    opened = Open(given, asked["Key"], actor, writer, b"")
    return replace(store, uploads=(*store.uploads, opened)), {"UploadId": given}


def _opened(store: Store, asked: dict[str, Any]) -> Open:
    for each in store.uploads:
        if each.id == asked["UploadId"]:
            return each
    raise Refused("NoSuchUpload")


def _without(store: Store, upload: Open) -> Store:
    return replace(store, uploads=tuple(each for each in store.uploads if each != upload))


def _part(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    upload = _opened(store, asked)
    changed = upload._replace(body=bytes(asked["Body"]))
    uploads = tuple(changed if each == upload else each for each in store.uploads)
    return replace(store, uploads=uploads), {"ETag": '"part"'}


def _complete(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    upload = _opened(store, asked)
    _check_condition(store, "CompleteMultipartUpload", asked)
    version = Version(upload.id, etag_of(upload.body, parts=True), upload.writer, upload.body)
    return _without(store, upload).put(upload.key, version), {}


def _abort(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    return _without(store, _opened(store, asked)), {}


def _uploads(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    found = sorted((each.key, each.id, each.owner) for each in store.uploads if each.key.startswith(asked["Prefix"]))
    return store, {"uploads": tuple((key, given, owner in store.expired) for key, given, owner in found)}


def _parts(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    upload = _opened(store, asked)
    return store, {"expired": upload.owner in store.expired, "marked": bool(upload.body)}


def _list(store: Store, actor: int, asked: dict[str, Any]) -> tuple[Store, dict[str, Any]]:
    keys = [key for key, _ in store.objects if key.startswith(asked["Prefix"])]
    found = [(key, version) for key in keys if (version := store.current(key))]
    return store, {"objects": tuple((key, each.etag, len(each.body or b"")) for key, each in found)}


_OPERATIONS: dict[str, Callable[..., tuple[Store, dict[str, Any]]]] = {
    "HeadObject": _head,
    "GetObject": _get,
    "PutObject": _put,
    "DeleteObject": _delete,
    "CreateMultipartUpload": _create,
    "UploadPart": _part,
    "CompleteMultipartUpload": _complete,
    "AbortMultipartUpload": _abort,
    "ListMultipartUploads": _uploads,
    "ListParts": _parts,
    "ListObjectsV2": _list,
}
READS = frozenset({"HeadObject", "GetObject", "ListMultipartUploads", "ListParts", "ListObjectsV2"})


# An actor's side


class Suspended(BaseException):
    """The actor's next call, which has no answer yet."""

    def __init__(self, operation: str, asked: dict[str, Any]) -> None:
        super().__init__(operation)
        self.operation = operation
        self.asked = asked


Answer = tuple[str, tuple[tuple[str, Any], ...]]


class Client:
    """What boto3's client is to the code under test; it gives the answers it was made with, in order."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self._answers = answers
        self._next = 0
        self._suspended: Suspended | None = None

    def _ask(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if self._next >= len(self._answers):
            # What an exception on its way up still asks is not asked.
            self._suspended = self._suspended or Suspended(operation, asked)
            raise self._suspended
        kind, answer = self._answers[self._next]
        self._next += 1
        if kind == "lost":
            raise EndpointConnectionError(endpoint_url="made-up")
        if kind == "refused":
            code = dict(answer)["code"]
            details = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": _STATUS[code]}}
            raise ClientError(details, operation)
        return dict(answer)

    def head_object(self, **asked: Any) -> dict[str, Any]:
        answer = self._ask("HeadObject", asked)
        return {**answer, "Metadata": {"curation-export-try": answer["writer"]}}

    def get_object(self, **asked: Any) -> dict[str, Any]:
        answer = self._ask("GetObject", asked)
        return {**answer, "Body": io.BytesIO(answer["Body"])}

    def put_object(self, **asked: Any) -> dict[str, Any]:
        return self._ask("PutObject", asked)

    def delete_object(self, **asked: Any) -> dict[str, Any]:
        return self._ask("DeleteObject", asked)

    def create_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        return self._ask("CreateMultipartUpload", asked)

    def upload_part(self, **asked: Any) -> dict[str, Any]:
        # What a call was sent stays as it was.
        return self._ask("UploadPart", {**asked, "Body": bytes(asked["Body"])})

    def complete_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        return self._ask("CompleteMultipartUpload", asked)

    def abort_multipart_upload(self, **asked: Any) -> dict[str, Any]:
        return self._ask("AbortMultipartUpload", asked)

    def list_parts(self, **asked: Any) -> dict[str, Any]:
        answer = self._ask("ListParts", asked)
        when = LONG_AGO if answer["expired"] else NOW
        parts = [{"PartNumber": 1, "LastModified": when}] if answer["marked"] else []
        return {"Parts": parts, "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOW)}}}

    def get_paginator(self, name: str) -> _Paginator:
        return _Paginator(self, name)


class DirectClient(Client):
    """A client whose calls are carried out at once.

    :param fails: how the next calls of an operation end: ``lost`` (carried out, without an answer), ``repeated``
        (carried out twice, since boto sends a call again if its answer is lost), or an error's code.
    """

    def __init__(self, store: Store, fails: dict[str, list[str]] | None = None) -> None:
        super().__init__(())
        self.store = store
        self.fails = fails or {}
        #: What was asked, such as ``PutObject``.
        self.asked: list[str] = []

    def _ask(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(operation)
        waiting = self.fails.get(operation, [])
        failure = waiting.pop(0) if waiting else None
        if failure not in (None, "lost", "repeated"):
            raise ClientError({"Error": {"Code": failure}, "ResponseMetadata": {"HTTPStatusCode": 500}}, operation)
        try:
            for _ in range(2 if failure == "repeated" else 1):
                self.store, answer = carry_out(self.store, 0, operation, asked)
        except Refused as refusal:
            code = str(refusal)
            details = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": _STATUS[code]}}
            raise ClientError(details, operation) from None
        if failure == "lost":
            raise EndpointConnectionError(endpoint_url="made-up")
        return answer

    def bodies(self) -> dict[str, bytes | None]:
        """Return the bytes of every object, by key."""
        return {key: versions[-1].body for key, versions in self.store.objects}


@dataclass(frozen=True)
class _Paginator:
    client: Client
    name: str

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        if self.name == "list_objects_v2":
            found = self.client._ask("ListObjectsV2", asked)["objects"]
            return [{"Contents": [{"Key": key, "ETag": f'"{etag}"', "Size": size} for key, etag, size in found]}]
        uploads = self.client._ask("ListMultipartUploads", asked)["uploads"]
        # An upload without a part was created the moment before, or by a try that died there.
        return [
            {
                "Uploads": [
                    {"Key": key, "UploadId": given, "Initiated": LONG_AGO if expired else NOW}
                    for key, given, expired in uploads
                ]
            }
        ]


# The explorer


@dataclass(frozen=True)
class End:
    """How an actor ended: ``success``, ``failure`` or ``crash``, with what it returned or raised."""

    how: str
    what: Any = None


class State(NamedTuple):
    """Numbers stand for what S3 holds, and for what each actor has been answered: they are quick to compare."""

    store: int
    answers: tuple[int, ...]
    ends: tuple[End | None, ...]
    faults_left: int
    expiries_left: int


@dataclass
class Explorer:
    """Visits every state that actors can bring a store to.

    :param actors: real code; each is given its client, and returns what it reports.
    :param faults: crashes and lost answers in one run, at most.
    :param expiries: times that a live actor is too slow to renew its claim, at most.
    :param check: is given each end: the store, how each actor ended, and how many faults and expiries there were.
    """

    actors: tuple[Callable[[Client], Any], ...]
    check: Callable[[Store, tuple[End, ...], int, int], None]
    faults: int = 1
    expiries: int = 0
    visited: set[State] = field(default_factory=set)
    ended: int = 0
    _steps: dict[tuple[int, int], Suspended | End] = field(default_factory=dict)
    _stores: dict[Store, int] = field(default_factory=dict)
    _store_of: list[Store] = field(default_factory=list)
    #: Histories of answers, each as the one before and the last answer; 0 is the empty one.
    _histories: dict[tuple[int, Answer], int] = field(default_factory=dict)
    _answers_of: list[tuple[Answer, ...]] = field(default_factory=lambda: [()])

    def explore(self, store: Store) -> None:
        nothing = (0,) * len(self.actors)
        start = State(self._number(store), nothing, (None,) * len(self.actors), self.faults, self.expiries)
        waiting: list[tuple[State, Any]] = [(start, ())]
        while waiting:
            state, path = waiting.pop()
            if state in self.visited:
                continue
            self.visited.add(state)
            if all(end is not None for end in state.ends):
                self._check(state, path)
            waiting.extend((after, (path, step)) for step, after in self._following(state))

    def _check(self, state: State, path: Any) -> None:
        self.ended += 1
        ends = tuple(end for end in state.ends if end is not None)
        try:
            self.check(
                self._store_of[state.store],
                ends,
                self.faults - state.faults_left,
                self.expiries - state.expiries_left,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(map(str, _unrolled(path)))) from None

    def _following(self, state: State) -> Iterator[tuple[Any, State]]:
        for actor, end in enumerate(state.ends):
            if end is None:
                yield from self._steps_of(state, actor)

    def _steps_of(self, state: State, actor: int) -> Iterator[tuple[Any, State]]:
        step = self._step(actor, state.answers[actor])
        if isinstance(step, End):
            yield (actor, step), self._ended(state, actor, step)
            return
        before = self._store_of[state.store]
        name = (actor, step.operation, step.asked.get("Key") or step.asked.get("Prefix"))
        store, answer = _answered(before, actor, step)
        yield (*name, answer), self._after(state, actor, store, answer)
        if state.expiries_left and actor not in before.expired:
            expired = self._number(replace(before, expired=before.expired | {actor}))
            yield (actor, "is slow"), state._replace(store=expired, expiries_left=state.expiries_left - 1)
        if not state.faults_left:
            return
        faulty = state._replace(faults_left=state.faults_left - 1)
        yield (*name, "crashes before"), self._ended(faulty, actor, End("crash"))
        yield (*name, "is not carried out"), self._after(faulty, actor, before, ("lost", ()))
        if step.operation not in READS:
            yield (*name, "is carried out, and its answer lost"), self._after(faulty, actor, store, ("lost", ()))
        if step.operation == "CreateMultipartUpload":
            # boto asks again by itself, so that nobody knows the first upload.
            twice, again = _answered(store, actor, step)
            yield (*name, "is carried out twice"), self._after(faulty, actor, twice, again)

    def _ended(self, state: State, actor: int, end: End) -> State:
        # What a dead or ended try has left open is not renewed any more.
        before = self._store_of[state.store]
        store = self._number(replace(before, expired=before.expired | {actor}))
        return state._replace(store=store, ends=_with(state.ends, actor, end), answers=_with(state.answers, actor, 0))

    def _after(self, state: State, actor: int, store: Store, answer: Answer) -> State:
        before = state.answers[actor]
        if (history := self._histories.get((before, answer))) is None:
            history = self._histories[before, answer] = len(self._answers_of)
            self._answers_of.append((*self._answers_of[before], answer))
        return state._replace(store=self._number(store), answers=_with(state.answers, actor, history))

    def _number(self, store: Store) -> int:
        if (number := self._stores.get(store)) is None:
            number = self._stores[store] = len(self._store_of)
            self._store_of.append(store)
        return number

    def _step(self, actor: int, history: int) -> Suspended | End:
        if (actor, history) not in self._steps:
            client = Client(self._answers_of[history])
            try:
                end: Suspended | End = End("success", self.actors[actor](client))
            except Suspended as suspended:
                end = suspended
            except Exception as error:
                end = End("failure", type(error).__name__)
            # An `except` of the code under test may have swallowed it.
            self._steps[actor, history] = client._suspended or end
        return self._steps[actor, history]


def _with(values: tuple[Any, ...], at: int, value: Any) -> tuple[Any, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _answered(store: Store, actor: int, step: Suspended) -> tuple[Store, Answer]:
    try:
        after, answer = carry_out(store, actor, step.operation, step.asked)
    except Refused as refusal:
        return store, ("refused", (("code", str(refusal)),))
    return after, ("answered", tuple(sorted(answer.items())))


def _unrolled(path: Any) -> list[Any]:
    steps: list[Any] = []
    while path:
        path, step = path
        steps.append(step)
    return steps[::-1]
