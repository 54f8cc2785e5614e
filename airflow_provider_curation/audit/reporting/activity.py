"""Counts what happened, event by event, in limited memory however many names there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Literal

from airflow_provider_curation.audit.evidence.archive import Archive
from airflow_provider_curation.audit.evidence.coverage import Coverage
from airflow_provider_curation.audit.evidence.findings import Series
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.evidence.unpacking import ContentError
from airflow_provider_curation.audit.reporting.events import READ_FORMATS, Event, Policy, read_events
from airflow_provider_curation.audit.reporting.exports import Export
from airflow_provider_curation.audit.reporting.figures import Activity, Let, Moment, Named, People, Rule, TypeRate
from airflow_provider_curation.audit.window import Window, format_utc, to_utc

#: How many names of one kind are kept; at most twice as many are in memory.
_MOST_NAMES: Final = 20_000
#: How many characters of a name are kept; the rest of a longer one is replaced by a digest, so it stays unique.
_MOST_CHARACTERS: Final = 200
_TOP: Final = 20
_MOST_LET: Final = 100
_MOST_UNREAD: Final = 20
#: Periods up to this many hours are shown by the hour.
_MOST_HOURS: Final = 72
_PLAIN_TIME: Final = len("2026-03-09T14:51:03Z")
_UNKNOWN: Final = "unknown"
#: Servers have three actions and a few dozen package types; beyond these numbers, they are counted together.
_MOST_ACTIONS: Final = 12
_MOST_TYPES: Final = 200
_OTHERS: Final = "(all others)"


class Names:
    """Counts names; if there are too many, it forgets rare ones.

    :ivar too_low: the most that a count can be below the truth; 0 if nothing was forgotten.
    """

    def __init__(self, most: int = _MOST_NAMES) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self.too_low = 0

    def add(self, name: str) -> None:
        """Count a name once."""
        if len(name) > _MOST_CHARACTERS:
            name = _clipped(name)
        self._counts[name] = self._counts.get(name, 0) + 1
        if len(self._counts) > 2 * self._most:
            kept = sorted(self._counts.items(), key=lambda each: -each[1])
            self.too_low += kept[self._most][1]
            self._counts = dict(kept[: self._most])

    def top(self, most: int = _TOP) -> list[tuple[str, int]]:
        """Return the most frequent names, with their counts."""
        return sorted(self._counts.items(), key=lambda each: (-each[1], each[0]))[:most]

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)


def _clipped(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{name[:_MOST_CHARACTERS]}… ({len(name):,} characters, SHA-256 {digest}…)"


class Tally:
    """The counts of one report.

    :param people: whether people are counted, and how they are named.
    """

    def __init__(self, period: Window, people: People) -> None:
        self._start, self._end = format_utc(period.start), format_utc(period.end)
        self.bucket: Literal["day", "hour"] = "hour" if period.seconds <= _MOST_HOURS * 3600 else "day"
        self._time_length = len("2026-03-09T14" if self.bucket == "hour" else "2026-03-09")
        self._people = people
        self.events = self.dry_run_events = self.let_through = 0
        self._over_time: Counter[tuple[str, str]] = Counter()
        self._types: Counter[tuple[str, str]] = Counter()
        self._actions: Counter[str] = Counter()
        self._known_types: set[str] = set()
        self._categories: dict[str, str] = {}
        self._policies, self._conditions = Names(), Names()
        self._dry_policies, self._dry_conditions = Names(), Names()
        self._packages, self._repositories, self._persons = Names(), Names(), Names()
        self._let: list[Let] = []

    def add(self, server: str, dry_run: bool, events: Iterable[Event], seen: Sequence[Window] = ()) -> None:
        """Count events of the period.

        :param seen: times whose events were already counted, from another export.
        """
        twice = [(format_utc(window.start), format_utc(window.end)) for window in seen]
        for event in events:
            time = event.created_at if len(event.created_at) == _PLAIN_TIME else _plain(event.created_at)
            if not self._start <= time < self._end:
                continue
            if twice and any(start <= time < end for start, end in twice):
                continue
            if dry_run:
                self._add_dry_run(event)
            else:
                self._add_event(server, event, time)

    def _add_dry_run(self, event: Event) -> None:
        self.dry_run_events += 1
        self._add_rules(event, self._dry_policies, self._dry_conditions)

    def _add_event(self, server: str, event: Event, time: str) -> None:
        self.events += 1
        action = _known(_short(event.action), self._actions, _MOST_ACTIONS)
        kind = _known(_short(event.package_type), self._known_types, _MOST_TYPES)
        self._known_types.add(kind)
        self._actions[action] += 1
        self._over_time[time[: self._time_length], action] += 1
        self._types[kind, action] += 1
        if action == "blocked":
            self._packages.add(f"{kind}: {event.package_name or _UNKNOWN}")
            self._repositories.add(event.curated_repository_name or _UNKNOWN)
            if self._people != "off":
                self._persons.add(event.username or _UNKNOWN)
            if event.policies:
                self._add_rules(event, self._policies, self._conditions)
        elif action == "approved" and event.policies:
            self._add_let(server, event, time)

    def _add_rules(self, event: Event, policies: Names, conditions: Names) -> None:
        """Count each policy and each condition that blocked an event, or would have blocked it, once."""
        blocking = [policy for policy in event.policies or () if policy.result in (None, "Blocked")]
        for name in {policy.policy_name or _UNKNOWN for policy in blocking}:
            policies.add(name)
        for policy in _by_condition(blocking):
            name = policy.condition_name or _UNKNOWN
            conditions.add(name)
            if policy.condition_category and len(self._categories) < _MOST_NAMES:
                self._categories.setdefault(name[:_MOST_CHARACTERS], policy.condition_category[:_MOST_CHARACTERS])

    def _add_let(self, server: str, event: Event, time: str) -> None:
        matched = [policy for policy in event.policies or () if not policy.dry_run]
        if not matched:
            return
        self.let_through += 1
        if len(self._let) < _MOST_LET:
            names = [event.package_name, event.package_version, event.curated_repository_name]
            policy, result = matched[0].policy_name, matched[0].result
            self._let.append(
                Let(server, event.id, time, _short(event.package_type), *map(_short, [*names, policy, result]))
            )

    def activity(self, sources: Sequence[Series], objects: int, unread: Sequence[str]) -> Activity:
        """Return the counts.

        :param unread: objects that were not read to their end, each with the reason.
        """
        actions = dict(self._actions.most_common())
        times: dict[str, dict[str, int]] = {}
        for (time, action), events in sorted(self._over_time.items()):
            times.setdefault(time, {})[action] = events
        names = (self._policies, self._conditions, self._dry_policies, self._dry_conditions, self._packages)
        counted = (*names, self._repositories, self._persons)
        return Activity(
            sources=tuple(map(str, sources)),
            objects=objects,
            events=self.events,
            dry_run_events=self.dry_run_events,
            unread_objects=len(unread),
            unread=tuple(unread[:_MOST_UNREAD]),
            bucket=self.bucket,
            actions=actions,
            over_time=tuple(Moment(time, found) for time, found in times.items()),
            package_types=tuple(self._rates()),
            policies=tuple(self._rules(self._policies, self._dry_policies, {})),
            conditions=tuple(self._rules(self._conditions, self._dry_conditions, self._categories)),
            packages=tuple(Named(*each) for each in self._packages.top()),
            repositories=tuple(Named(*each) for each in self._repositories.top()),
            people=tuple(self._named_people()),
            people_mode=self._people,
            not_inspected=actions.get("passed", 0),
            let_through=self.let_through,
            let=tuple(self._let),
            at_most_too_low=max(each.too_low for each in counted),
        )

    def _rates(self) -> Iterator[TypeRate]:
        kinds: Counter[str] = Counter()
        for (kind, _), events in self._types.items():
            kinds[kind] += events
        for kind, events in sorted(kinds.items(), key=lambda each: (-each[1], each[0]))[:_TOP]:
            blocked, passed = (self._types[kind, action] for action in ("blocked", "passed"))
            yield TypeRate(kind, events, blocked, passed, blocked / events)

    @staticmethod
    def _rules(real: Names, dry: Names, categories: dict[str, str]) -> Iterator[Rule]:
        names = {name for name, _ in (*real.top(), *dry.top())}
        for name in sorted(names, key=lambda name: (-real[name], -dry[name], name)):
            yield Rule(name, categories.get(name[:_MOST_CHARACTERS], ""), real[name], dry[name])

    def _named_people(self) -> Iterator[Named]:
        for name, events in self._persons.top(10):
            yield Named(name if self._people == "shown" else f"{name[:1]}•••", events)


def _known(name: str, known: Collection[str], most: int) -> str:
    """Return a name, or the common name of all others if enough names are known."""
    return name if name in known or len(known) < most else _OTHERS


def _short(text: str | None) -> str:
    if not text:
        return _UNKNOWN
    return text if len(text) <= _MOST_CHARACTERS else _clipped(text)


def _by_condition(policies: Iterable[Policy]) -> Iterable[Policy]:
    return {policy.condition_name: policy for policy in policies}.values()


def _plain(created_at: str) -> str:
    """Return a time as text that sorts by time; empty if it is not a time."""
    if created_at.endswith("Z") and created_at[19:20] == ".":
        return f"{created_at[:19]}Z"
    try:
        return format_utc(to_utc(created_at))
    except ValueError:
        return ""


def count_activity(archive: Archive, exports: Sequence[Export], period: Window, people: People) -> Activity:
    """Read the objects of a period once, and count what happened.

    :param exports: those of the period; of one stream's formats, the one with the most events is read.
    :raises MissingPackageError: if a package is needed to unpack an object.
    """
    tally = Tally(period, people)
    sources = _sources(exports)
    seen = {series: Coverage() for series in sources}
    unread: list[str] = []
    objects = 0
    for export in sorted(exports, key=lambda each: (each.series, each.window)):
        if export.series not in seen:
            continue
        overlap = seen[export.series].add(export.window)
        if not export.facts["events"]:
            continue
        objects += 1
        try:
            chunks = iter(archive.chunks(export.key))
            for events in read_events(chunks, export.series.format, str(export.facts["compression"])):
                tally.add(export.series.instance, export.series.stream == "dry_run", events, overlap)
        except FileNotFoundError:
            unread.append(f"{printable(export.key)}: it is gone")
        except ContentError as error:
            unread.append(f"{printable(export.key)}: {error}")
    return tally.activity(sources, objects, unread)


def _sources(exports: Iterable[Export]) -> list[Series]:
    """Return the series to read: for each server and stream, the one with the most events."""
    kept: Counter[Series] = Counter()
    for export in exports:
        if export.series.format in READ_FORMATS:
            kept[export.series] += export.facts["events"]
    best: dict[tuple[str, str], Series] = {}
    for series, events in kept.items():
        known = best.get((series.instance, series.stream))
        if known is None or (events, -READ_FORMATS.index(series.format)) > (
            kept[known],
            -READ_FORMATS.index(known.format),
        ):
            best[series.instance, series.stream] = series
    return sorted(best.values())
