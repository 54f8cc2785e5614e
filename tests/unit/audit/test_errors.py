"""The tree of errors, as its module draws it."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_curation.audit import errors


def tree(kind: type, depth: int = 1) -> Iterator[str]:
    """Give a line for each error of the module, below the one that it derives from."""
    yield "    " * depth + kind.__name__
    for each in kind.__subclasses__():
        # A final error that another test raised names the same module, but is not in it.
        if vars(errors).get(each.__name__) is each:
            yield from tree(each, depth + 1)


def test_the_module_draws_the_tree_of_its_errors() -> None:
    _, drawn = (errors.__doc__ or "").split("The tree::\n\n")
    assert drawn.rstrip() == "\n".join(tree(errors.CurationAuditError))
