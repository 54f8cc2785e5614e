"""Filters events by action, package type, repository and policy.

The server has no filters to rely on, so events are filtered after they were read. Every list takes case-sensitive shell
patterns. An event is wanted if it matches a pattern of each given list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property

from airflow_provider_curation.audit.errors import InvalidArgumentError


def _patterns(values: Sequence[str] | str | None, name: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise InvalidArgumentError(f"{name}={values!r} is a string; give a list of names or shell patterns.")
    patterns = tuple(str(value) for value in values)
    if not patterns:
        raise InvalidArgumentError(f"{name}=[] matches no event at all; leave it out to match all of them.")
    return patterns


def _matcher(patterns: tuple[str, ...] | None) -> re.Pattern[str] | None:
    return re.compile("|".join(translate(pattern) for pattern in patterns)) if patterns else None


@dataclass(frozen=True)
class EventFilter:
    """The wanted actions, package types, curated repositories, and policies (by name or id); ``None`` matches all."""

    actions: tuple[str, ...] | None = None
    package_types: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    policies: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        actions: Sequence[str] | None = None,
        package_types: Sequence[str] | None = None,
        repositories: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
    ) -> EventFilter:
        """Make a filter from a user's lists.

        :raises InvalidArgumentError: for a plain string, or an empty list, which would match nothing.
        """
        return cls(
            _patterns(actions, "actions"),
            _patterns(package_types, "package_types"),
            _patterns(repositories, "repositories"),
            _patterns(policies, "policies"),
        )

    def __bool__(self) -> bool:
        return any((self.actions, self.package_types, self.repositories, self.policies))

    def as_dict(self) -> dict[str, list[str]]:
        """Return the given lists, for a manifest."""
        lists = {
            "actions": self.actions,
            "package_types": self.package_types,
            "repositories": self.repositories,
            "policies": self.policies,
        }
        return {name: list(patterns) for name, patterns in lists.items() if patterns}

    @cached_property
    def _matchers(self) -> tuple[re.Pattern[str] | None, ...]:
        return tuple(map(_matcher, (self.actions, self.package_types, self.repositories, self.policies)))

    def wants(self, action: str, package_type: str, repository: str, policies: Iterable[str]) -> bool:
        """Return whether an event is wanted; ``policies`` are the names and ids of all of its policies."""
        by_action, by_type, by_repository, by_policy = self._matchers
        return (
            (by_action is None or by_action.match(action) is not None)
            and (by_type is None or by_type.match(package_type) is not None)
            and (by_repository is None or by_repository.match(repository) is not None)
            and (by_policy is None or any(by_policy.match(policy) for policy in policies))
        )
