"""The sensor: waits for blocked events in a run's window, in the worker, between reschedules or in the triggerer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_curation.audit.errors import CurationAuditError, InvalidArgumentError, PollFailedError
from airflow_provider_curation.audit.filters import EventFilter
from airflow_provider_curation.audit.polling.outcome import MAX_FAILURES, Judge, Outcome, PollResult, revive
from airflow_provider_curation.audit.polling.search import Search
from airflow_provider_curation.audit.window import format_utc
from airflow_provider_curation.compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
    ending_without_retries,
    task_state_store,
)
from airflow_provider_curation.interval import end_of_search, start_of_search
from airflow_provider_curation.links import CurationAuditLink

if TYPE_CHECKING:
    from airflow_provider_curation.audit.polling.poller import Poller
    from airflow_provider_curation.compat import Context

#: The method that Airflow resumes a task with if its trigger failed.
_FAIL = "__fail__"
_STATE_KEY = "curation_blocked_events"


class CurationBlockedEventsSensor(BaseSensorOperator):
    """Waits until packages are blocked, and returns the events.

    The search begins at ``start``, else at the start of the run's data interval, else ``lookback`` before the run's
    start; a re-run finds the same events again. An error that a retry cannot fix, such as a refused token, fails the
    task at once, and so do ``max_failures`` failed polls in a row. ``soft_fail`` turns only a time-out into a skip.

    :param start: first moment: an aware datetime or ISO 8601 string. (templated)
    :param end: end, exclusive; once it has passed and settled without enough events, the sensor times out.
        (templated)
    :param lookback: how long before the run's start the search begins, if the run has no data interval.
    :param package_types: only events of these package types; shell patterns, as in the other filters. (templated)
    :param repositories: only events of these curated repositories. (templated)
    :param policies: only events that one of these policies, by name or id, affected. (templated)
    :param min_events: how many events to wait for.
    :param sample_size: how many events to return, those with the lowest ids.
    :param include_personal_fields: include in the sample who asked for the package (``username``, ``user_mail``).
    :param settle_time: how long after its ``created_at`` an event can become visible.
    :param max_failures: how many failed polls in a row fail the task. In mode ``reschedule`` before Airflow 3.3,
        nothing is remembered between pokes, so one failed poke, whose requests are retried for about two minutes, does.
    :param deferrable: wait in the triggerer, polling every ``poke_interval``; default: Airflow's
        ``default_deferrable``.
    :param curation_conn_id: connection of type ``jfrog_curation``. (templated)
    :return: (XCom) the batch: ``count``, ``first_id``, ``last_id``, ``since`` (the start of the search), ``until`` (the
        second after the latest event, so that ``[since, until)`` contains them all), and the ``sample``.
    :raises CurationAuditError: its subclasses name the fault.
    """

    template_fields: Sequence[str] = ("start", "end", "package_types", "repositories", "policies", "curation_conn_id")
    ui_color = "#f7d6d6"
    operator_extra_links = (CurationAuditLink(),)

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        lookback: timedelta | None = None,
        package_types: Sequence[str] | None = None,
        repositories: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
        min_events: int = 1,
        sample_size: int = 20,
        include_personal_fields: bool = False,
        settle_time: timedelta = timedelta(minutes=5),
        max_failures: int = MAX_FAILURES,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        curation_conn_id: str = "curation_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.lookback = lookback
        self.package_types = package_types
        self.repositories = repositories
        self.policies = policies
        self.min_events = min_events
        self.sample_size = sample_size
        self.include_personal_fields = include_personal_fields
        self.settle_time = settle_time
        self.max_failures = max_failures
        self.deferrable = deferrable
        self.curation_conn_id = curation_conn_id
        # Kept between the pokes of one process.
        self._poller: Poller | None = None
        self._judge: Judge | None = None

    def execute(self, context: Context) -> Any:
        """Wait for events."""
        # Not in poke: there, soft_fail would turn an error without retries into a skip.
        with ending_without_retries():
            return self._execute_deferrable(context) if self.deferrable else super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once.

        :raises CurationAuditError: for a lasting fault.
        """
        outcome = self._look(context)
        batch = self._conclude(outcome, context)
        return PokeReturnValue(batch is not None, batch)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what the trigger found, or raise what it reported."""
        event = event or {}
        status = event.get("status")
        if status == "found":
            batch: dict[str, Any] = event["batch"]
            self._tell(batch, context)
            return batch
        if status == "timeout":
            self._time_out(str(event.get("message")))
        if status == "fault":
            raise revive(event)
        raise PollFailedError(f"The trigger sent {event!r}, which is not the outcome of a poll.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger; Airflow's own method would let ``soft_fail`` turn a trigger's fault into a skip."""
        given = next_kwargs or {}
        reason = str(getattr(given.get("error"), "value", given.get("error", "")))
        if next_method == _FAIL and "timeout" not in reason.lower():
            if traceback := given.get("traceback"):
                self.log.error("The trigger failed:\n%s", "".join(traceback))
            raise PollFailedError(f"The trigger failed ({reason or 'no reason given'}); see its own log.")
        try:
            with ending_without_retries():
                return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            # Airflow 3.0 does not apply soft_fail to a time-out in the triggerer.
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    # One poll

    def _look(self, context: Context) -> Outcome:
        if self.mode == "reschedule" and not self.deferrable:
            return self._look_between_reschedules(context)
        search = self._search(context)
        self._judge = self._judge or Judge(self.max_failures)
        return self._poll(search, self._judge, None)

    def _look_between_reschedules(self, context: Context) -> Outcome:
        """Poll with the state of the last poke, if this Airflow can store it."""
        search = self._search(context)
        store = task_state_store(context)
        if store is None:
            return self._poll_to_the_end(search)
        fingerprint = self._fingerprint(search)
        remembered = store.get(_STATE_KEY)
        if not isinstance(remembered, dict) or remembered.get("search") != fingerprint:
            remembered = {}
        judge = Judge(self.max_failures, remembered.get("failures", 0))
        outcome = self._poll(search, judge, remembered.get("cursor"))
        if outcome.result in (PollResult.NOTHING, PollResult.PASSING):
            cursor = self._poller.state() if self._poller else remembered.get("cursor")
            store.set(_STATE_KEY, {"search": fingerprint, "failures": judge.failures, "cursor": cursor})
        else:
            # A cleared task starts over.
            store.delete(_STATE_KEY)
        return outcome

    def _poll_to_the_end(self, search: Search) -> Outcome:
        """Poll until everything was read, since the next poke would start over and get no further."""
        judge = Judge(max_failures=1)
        while True:
            outcome = self._poll(search, judge, None, patient=True)
            if outcome.result is not PollResult.NOTHING or (self._poller and self._poller.caught_up):
                return outcome

    def _poll(
        self, search: Search, judge: Judge, cursor: Mapping[str, Any] | None, *, patient: bool = False
    ) -> Outcome:
        now = datetime.now(timezone.utc)
        try:
            if self._poller is None:
                from airflow_provider_curation.audit.polling.poller import POLL_RETRY
                from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

                hook = CurationAuditHook(self.curation_conn_id, retry=None if patient else POLL_RETRY)
                self._poller = hook.new_poller(search, cursor)
            batch = self._poller.poll(now)
        except Exception as error:
            return judge.fault(error)
        return judge.success(batch, self._poller.over(now))

    def _conclude(self, outcome: Outcome, context: Context) -> dict[str, Any] | None:
        """Return the batch, or ``None`` if there is none yet; raise if waiting cannot help."""
        if outcome.batch is not None:
            assert self._poller is not None
            batch = outcome.batch.as_dict(since=self._poller.search.start)
            self._tell(batch, context)
            return batch
        if outcome.result is PollResult.LASTING:
            assert outcome.error is not None
            raise outcome.error
        if outcome.result is PollResult.PASSING:
            self.log.warning("Poll failed, %d in a row of %d: %s", outcome.failures, self.max_failures, outcome.error)
        if outcome.result is PollResult.OVER:
            self._time_out("The window has ended and settled.")
        return None

    def _execute_deferrable(self, context: Context) -> dict[str, Any]:
        from airflow_provider_curation.triggers.curation_audit import CurationBlockedEventsTrigger

        search = self._search(context)
        batch = self._conclude(self._look(context), context)
        if batch is not None:
            return batch
        deadline = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
        self.log.info("No batch yet; waiting in the triggerer until %s.", format_utc(deadline))
        trigger = CurationBlockedEventsTrigger(
            start=search.start,
            end=search.end,
            package_types=self.package_types,
            repositories=self.repositories,
            policies=self.policies,
            min_events=self.min_events,
            sample_size=self.sample_size,
            include_personal_fields=self.include_personal_fields,
            settle_time=self.settle_time,
            poll_interval=self.poke_interval,
            max_failures=self.max_failures,
            curation_conn_id=self.curation_conn_id,
            deadline=deadline,
            cursor=self._poller.state() if self._poller else None,
        )
        # The trigger enforces the deadline itself; Airflow's time-out is for when no triggerer runs.
        grace = timedelta(seconds=self.poke_interval) + timedelta(minutes=5)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout) + grace)

    # Arguments

    def _search(self, context: Context) -> Search:
        if self._poller is not None:
            return self._poller.search
        if self.max_failures < 1:
            raise InvalidArgumentError(f"max_failures={self.max_failures!r} is not a positive number.")
        wanted = EventFilter.of(["blocked"], self.package_types, self.repositories, self.policies)
        start = start_of_search(context, self.start, self.lookback)
        return Search(
            start=start,
            end=end_of_search(self.end, start),
            wanted=wanted,
            min_events=self.min_events,
            sample_size=self.sample_size,
            personal_fields=self.include_personal_fields,
            settle_time=self.settle_time,
        )

    def _fingerprint(self, search: Search) -> str:
        return hashlib.sha256(json.dumps([self.curation_conn_id, repr(search)]).encode()).hexdigest()[:32]

    # Results

    def _time_out(self, why: str) -> NoReturn:
        said = f"{why} Fewer than {self.min_events} wanted events were found."
        if self.soft_fail:
            raise AirflowSkipException(f"{said} It is skipped (soft_fail).")
        raise AirflowSensorTimeout(said)

    def _tell(self, batch: Mapping[str, Any], context: Context) -> None:
        from airflow_provider_curation.hooks.curation_audit import CurationAuditHook

        self.log.info(
            "Found %s blocked events in [%s, %s), ids %s to %s.",
            batch["count"], batch["since"], batch["until"], batch["first_id"], batch["last_id"],
        )  # fmt: skip
        # What was found counts, also if the connection has gone meanwhile.
        with suppress(CurationAuditError):
            CurationAuditLink.store(context, CurationAuditHook(self.curation_conn_id).audit_page_url)
