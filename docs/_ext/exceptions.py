"""Writes the page of exceptions from the classes: the tree, what each means, what to do, whether it is retried."""

from __future__ import annotations

import inspect
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from airflow_provider_curation.audit import errors


def known() -> list[type[errors.CurationAuditError]]:
    """Return every class of the tree, in the order of its definition."""
    classes = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    return [kind for kind in classes if issubclass(kind, errors.CurationAuditError)]


def lines() -> list[str]:
    """Return the page's Markdown: the tree, and a section for each class."""
    text = ["```text"]

    def branch(kind: type[errors.CurationAuditError], depth: int) -> None:
        text.append("  " * depth + kind.__name__)
        for below in known():
            if below.__bases__[0] is kind:
                branch(below, depth + 1)

    branch(errors.CurationAuditError, 0)
    text += ["```", ""]
    for kind in known():
        meaning = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split("\n:param")[0].replace("\n", " ")
        advice = getattr(kind, "advice", "")
        by_client = "yes" if kind.retry_request else "no"
        by_airflow = "yes" if kind.retry_task else "no"
        text += [f"## {kind.__name__}", "", meaning, ""]
        if advice:
            text += [f"**What to do.** {advice}", ""]
        text += [f"Retried by the client: {by_client}. Retried by Airflow: {by_airflow}.", ""]
    return text


class ExceptionsDirective(SphinxDirective):
    """``{exceptions}``: the whole page."""

    def run(self) -> list[nodes.Node]:
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines(), source="errors.py"), 0, node, match_titles=True)
        return list(node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("exceptions", ExceptionsDirective)
    return {"parallel_read_safe": True}
