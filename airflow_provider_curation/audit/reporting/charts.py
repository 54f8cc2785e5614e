"""Draws charts as static SVG with Vega-Lite: without scripts or requests, and with text in the page's own colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_provider_curation.audit.errors import MissingPackageError
from airflow_provider_curation.audit.evidence.printable import printable
from airflow_provider_curation.audit.reporting.figures import Activity, Moment

_WIDTH: Final = 560
_MOST_BARS: Final = 12
_MOST_LABEL: Final = 36
#: Mid tones of Okabe and Ito's palette, which colour-blind people can distinguish on light and dark backgrounds.
_COLOURS: Final = {"blocked": "#d55e00", "approved": "#2a9d78", "passed": "#5b9bd5"}
_OTHER_COLOURS: Final = ("#c77fa8", "#a08a1f", "#8c8c8c")
_FONT: Final = "system-ui, sans-serif"
_CONFIG: Final[Mapping[str, Any]] = {
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "labelFont": _FONT,
        "titleFont": _FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFont": _FONT,
        "labelFontSize": 12,
        "orient": "top",
        "title": None,
    },
}


def draw(activity: Activity) -> dict[str, str]:
    """Return the charts by name, as SVG: those that have something to show.

    :raises MissingPackageError: without the extra ``report``.
    """
    specs = {
        "over_time": _over_time(activity.over_time, activity.bucket),
        "block_rate": _block_rate(activity),
        "conditions": _conditions(activity),
    }
    return {name: _svg(spec) for name, spec in specs.items() if spec["data"]["values"]}


def _svg(spec: Mapping[str, Any]) -> str:
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise MissingPackageError(
            "Charts need the package vl-convert-python: install airflow-provider-curation[report], or make the report "
            "without charts."
        ) from None
    whole = {**spec, "background": None, "config": _CONFIG, "width": _WIDTH}
    svg: str = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    # The page describes each chart in words and shows its numbers in a table.
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _over_time(moments: Sequence[Moment], bucket: str) -> dict[str, Any]:
    actions = _actions(moments)
    by_hour = bucket == "hour"
    values = [
        {"time": f"{moment.time}:00:00Z" if by_hour else f"{moment.time}T00:00:00Z", "action": action, "events": events}
        for moment in moments
        for action, events in moment.actions.items()
    ]
    for value in values:
        value["action"] = _label(str(value["action"]))
    unit = "utcyearmonthdatehours" if by_hour else "utcyearmonthdate"
    others = iter(_OTHER_COLOURS * len(actions))
    return {
        "data": {"values": values},
        "height": 200,
        "mark": {"type": "bar"},
        "encoding": {
            "x": {
                "field": "time",
                "type": "temporal",
                "timeUnit": unit,
                "title": f"{bucket.capitalize()} (UTC)",
                "scale": {"type": "utc"},
                "axis": {"format": "%d %b %H:%M" if by_hour else "%d %b", "tickCount": 8, "labelOverlap": "greedy"},
            },
            "y": {"field": "events", "type": "quantitative", "aggregate": "sum", "title": f"Events per {bucket}"},
            "color": {
                "field": "action",
                "type": "nominal",
                "scale": {
                    "domain": [_label(action) for action in actions],
                    "range": [_COLOURS.get(action) or next(others) for action in actions],
                },
            },
        },
    }


def _actions(moments: Sequence[Moment]) -> list[str]:
    found = {action for moment in moments for action in moment.actions}
    return [action for action in _COLOURS if action in found] + sorted(found - set(_COLOURS))


def _block_rate(activity: Activity) -> dict[str, Any]:
    values = [
        {"name": _label(each.package_type), "rate": each.block_rate}
        for each in activity.package_types[:_MOST_BARS]
        if each.events
    ]
    return {
        "data": {"values": values},
        "height": {"step": 22},
        "mark": {"type": "bar", "color": _COLOURS["blocked"]},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
            "x": {
                "field": "rate",
                "type": "quantitative",
                "title": "Blocked, of all events of the type (%)",
                "scale": {"domainMin": 0},
                "axis": {"format": "~%"},
            },
        },
    }


def _conditions(activity: Activity) -> dict[str, Any]:
    def bars() -> Iterator[dict[str, Any]]:
        for rule in activity.conditions[:_MOST_BARS]:
            name = _label(rule.name)
            yield {"name": name, "kind": "blocked", "events": rule.blocked}
            yield {"name": name, "kind": "would be blocked (dry run)", "events": rule.would_block}

    return {
        "data": {"values": list(bars())},
        "height": {"step": 12},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
            "yOffset": {"field": "kind", "sort": None},
            "x": {"field": "events", "type": "quantitative", "title": "Events"},
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {
                    "domain": ["blocked", "would be blocked (dry run)"],
                    "range": [_COLOURS["blocked"], _COLOURS["passed"]],
                },
            },
        },
    }


def _label(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _MOST_LABEL else f"{shown[: _MOST_LABEL - 1]}…"
