"""The trigger: polls for blocked events in the triggerer, for a deferred sensor or for an asset's watcher."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_curation.audit.errors import InvalidArgumentError, UndefinedWindowError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.polling.outcome import MAX_FAILURES, Judge, Outcome, PollResult, describe
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.window import format_utc, to_utc
from airflow_provider_curation.compat import (
    AirflowNotFoundException,
    BaseEventTrigger,
    TriggerEvent,
    connection_for_trigger,
    in_thread,
)
from airflow_provider_curation.interval import end_of_search
from airflow_provider_curation.triggers.heartbeat import StoredHeartbeat
from airflow_provider_curation.triggers.stored_cursor import StoredCursor, jittered

if TYPE_CHECKING:
    from airflow_provider_curation.audit.polling.poller import Poller
    from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

#: The longest pause between two polls, in seconds, if a watcher's polls keep failing.
_LONGEST_PAUSE = 600.0


class CurationBlockedEventsTrigger(BaseEventTrigger):
    """Polls for blocked events.

    With a ``deadline``, it serves a deferred task: it fires one event, which is a batch, a fault or a time-out.
    Without one, it serves an ``AssetWatcher``: it runs forever, and fires an event with a batch as payload after each
    poll that finds something. A watcher has no task to fail, so a fault is logged and retried after growing pauses.

    :param start: start of the search: an aware datetime or ISO 8601 string.
    :param end: end of the search, exclusive.
    :param lookback: without ``start``: how long before its first poll a watcher's search begins.
    :param package_types: only events of these package types; shell patterns, as in the other filters.
    :param repositories: only events of these curated repositories.
    :param policies: only events that one of these policies, by name or id, affected.
    :param min_events: how many events make a batch.
    :param sample_size: how many events of a batch to include, those with the lowest ids.
    :param include_personal_fields: include who asked for the package (``username``, ``user_mail``).
    :param settle_time: how long after its ``created_at`` an event can become visible.
    :param poll_interval: seconds between two polls, give or take a random tenth.
    :param max_failures: how many failed polls in a row fail a deferred task.
    :param curation_conn_id: connection of type ``jfrog_curation``.
    :param deadline: when a deferred task times out.
    :param cursor: the state of an earlier poller of the same search.
    """

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        lookback: timedelta | float | None = None,
        package_types: Sequence[str] | None = None,
        repositories: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
        min_events: int = 1,
        sample_size: int = 20,
        include_personal_fields: bool = False,
        settle_time: timedelta | float = 300.0,
        poll_interval: timedelta | float = 30.0,
        max_failures: int = MAX_FAILURES,
        curation_conn_id: str = "curation_default",
        deadline: datetime | str | None = None,
        cursor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        if start is None and lookback is None:
            raise UndefinedWindowError(
                "Neither start nor lookback was given, so the search has no start. Give an asset's watcher "
                "lookback=timedelta(...)."
            )
        # Only JSON values from here on: Airflow stores them in its database.
        self.start = _text(start, "start")
        self.end = _text(end, "end")
        self.lookback = None if lookback is None else _seconds(lookback)
        self.package_types = _names(package_types)
        self.repositories = _names(repositories)
        self.policies = _names(policies)
        self.min_events = min_events
        self.sample_size = sample_size
        self.include_personal_fields = include_personal_fields
        self.settle_time = _seconds(settle_time)
        self.poll_interval = _seconds(poll_interval)
        self.max_failures = max_failures
        self.curation_conn_id = curation_conn_id
        self.deadline = _text(deadline, "deadline")
        self.cursor = dict(cursor) if cursor else None
        if self.poll_interval <= 0:
            raise InvalidArgumentError(f"poll_interval={poll_interval!r} is not a positive number of seconds.")
        # Refuse invalid arguments when the DAG file is parsed.
        self._search(datetime.now(timezone.utc))
        self._began: datetime | None = None
        self._reached = self.cursor
        self._judge = Judge(max_failures)
        self._poller: Poller | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how to create this trigger again: JSON values, and only the id of the connection."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "start": self.start,
                "end": self.end,
                "lookback": self.lookback,
                "package_types": self.package_types,
                "repositories": self.repositories,
                "policies": self.policies,
                "min_events": self.min_events,
                "sample_size": self.sample_size,
                "include_personal_fields": self.include_personal_fields,
                "settle_time": self.settle_time,
                "poll_interval": self.poll_interval,
                "max_failures": self.max_failures,
                "curation_conn_id": self.curation_conn_id,
                "deadline": self.deadline,
                "cursor": self.cursor,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is an event to fire: one for a deferred task, any number for a watcher."""
        if self.deadline is not None:
            yield await self._wait_for_task(to_utc(self.deadline))
            return
        async for event in self._watch():
            yield event

    # For a deferred task

    async def _wait_for_task(self, deadline: datetime) -> TriggerEvent:
        pause = self.poll_interval
        while True:
            # The sensor has just polled.
            left = (deadline - datetime.now(timezone.utc)).total_seconds()
            await asyncio.sleep(max(0.0, min(jittered(pause), left)))
            outcome = await self._look()
            if outcome.batch is not None:
                assert self._poller is not None
                batch = outcome.batch.as_dict(since=self._poller.search.start)
                return _event({"status": "found", "batch": batch})
            if outcome.result is PollResult.LASTING:
                # An event, not an exception: Airflow would let soft_fail turn that into a skip.
                assert outcome.error is not None
                return _event({"status": "fault", **describe(outcome.error)})
            if outcome.result is PollResult.OVER:
                return _event({"status": "timeout", "message": "The window has ended and settled."})
            self._tell_fault(outcome)
            if datetime.now(timezone.utc) >= deadline:
                return _event({"status": "timeout", "message": f"The deadline {format_utc(deadline)} has passed."})
            pause = outcome.pause(self.poll_interval)

    # For an asset's watcher

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        cursor = StoredCursor(self.asset_store, self._searched(), self.log)
        heartbeat = StoredHeartbeat(self.asset_store, self.log)
        # Spread out the polls of watchers that start together.
        await asyncio.sleep(random.uniform(0, self.poll_interval))
        self._reached = await cursor.load() or self._reached
        while True:
            outcome = await self._look()
            await heartbeat.beat(outcome, datetime.now(timezone.utc))
            pause = outcome.pause(self.poll_interval)
            if outcome.batch is not None:
                assert self._poller is not None
                state = self._poller.state()
                yield _event(outcome.batch.as_dict())
                # Saved later, once the event cannot be lost: better a batch twice than never.
                cursor.keep(state, delivered=True)
                pause = max(pause, cursor.persist_seconds)
            elif outcome.error is None:
                cursor.keep(self._poller.state() if self._poller else None)
                pause = _LONGEST_PAUSE if outcome.result is PollResult.OVER else pause
            else:
                self._tell_fault(outcome)
                pause = max(pause, min(self.poll_interval * 2 ** min(outcome.failures - 1, 10), _LONGEST_PAUSE))
            await asyncio.sleep(max(jittered(pause), cursor.persist_seconds if outcome.batch else 0.0))
            await cursor.save()

    # One poll

    async def _look(self) -> Outcome:
        known = self._poller
        try:
            return await self._poll()
        except Exception as error:
            # Read the connection again next time: it may have been changed meanwhile.
            self._forget_connection()
            if known is not None and not getattr(error, "retry_task", True):
                try:
                    return await self._poll()
                except Exception as again:
                    self._forget_connection()
                    return self._judge.fault(again)
            return self._judge.fault(error)

    async def _poll(self) -> Outcome:
        now = datetime.now(timezone.utc)
        if self._poller is None:
            self._poller = await self._new_poller(now)
        poller = self._poller
        batch = await asyncio.to_thread(poller.poll, now)
        return self._judge.success(batch, poller.over(now))

    def _forget_connection(self) -> None:
        if self._poller is not None:
            self._reached = self._poller.state()
            self._poller = None

    async def _new_poller(self, now: datetime) -> Poller:
        try:
            connection = await connection_for_trigger(self.curation_conn_id)
        except AirflowNotFoundException:
            connection = None
        # Kept, so that the start does not move while polls fail.
        self._began = self._began or now
        search = self._search(self._began)

        def build() -> Poller:
            # Imports and loading TLS settings take time, and must not block the event loop.
            from airflow_provider_curation.audit.polling.poller import POLL_RETRY
            from airflow_provider_curation.hooks.curation_audit import CurationAuditHook, no_connection

            if connection is None:
                raise no_connection(self.curation_conn_id)
            hook = CurationAuditHook(self.curation_conn_id, retry=POLL_RETRY, connection=connection)
            return self._resumed(hook, search)

        return await in_thread(build)

    def _resumed(self, hook: CurationAuditHook, search: Search) -> Poller:
        try:
            return hook.new_poller(search, self._reached)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidArgumentError):
                raise
            self.log.warning("The stored cursor is not readable (%s); searching from %s again.", error, search.start)
            return hook.new_poller(search)

    def _search(self, began: datetime) -> Search:
        start = to_utc(self.start or began - timedelta(seconds=self.lookback or 0))
        return Search(
            start=start,
            end=end_of_search(self.end, start),
            wanted=EventFilter.of(["blocked"], self.package_types, self.repositories, self.policies),
            min_events=self.min_events,
            sample_size=self.sample_size,
            personal_fields=self.include_personal_fields,
            settle_time=timedelta(seconds=self.settle_time),
        )

    @property
    def asset_store(self) -> Any:
        """Airflow's store of the watched asset; ``None`` before Airflow 3.3, and for a task's trigger."""
        return getattr(self, "asset_state_store", None)

    def _searched(self) -> list[Any]:
        """Return what the cursor depends on: with another connection or other filters, the search starts over."""
        return [self.curation_conn_id, self.package_types, self.repositories, self.policies]

    def _tell_fault(self, outcome: Outcome) -> None:
        if outcome.result is PollResult.LASTING:
            self.log.error("Poll failed, %d in a row: %s", outcome.failures, outcome.error)
        elif outcome.result is PollResult.PASSING:
            self.log.warning("Poll failed, %d in a row of %d: %s", outcome.failures, self.max_failures, outcome.error)


def _event(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call, unused-ignore]


def _text(moment: datetime | str | None, name: str) -> str | None:
    return None if moment is None else format_utc(to_utc(moment, name))


def _seconds(duration: timedelta | float) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def _names(values: Sequence[str] | None) -> list[str] | None:
    if isinstance(values, str):
        raise InvalidArgumentError(f"{values!r} is a string; give a list of names or shell patterns.")
    return None if values is None else [str(value) for value in values]
