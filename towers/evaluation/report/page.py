"""Report as a self-contained HTML file, without scripts or requests to other hosts."""

from pathlib import Path
from typing import Any

from towers.evaluation.acceptance import acceptance
from towers.evaluation.intervals import Difference
from towers.evaluation.report.figures import draw, slice_groups, slice_title
from towers.evaluation.report.pieces import Report, list_metrics, strongest
from towers.evaluation.report.svg import picture_svg
from towers.evaluation.report.templates import flat, template
from towers.evaluation.result import metric_key
from towers.manifest import atomic_file

TEMPLATE = "page.html.jinja"


def render(report: Report) -> str:
    """Renders the whole page; the same report gives the same text."""
    filters = {
        "figure": picture_svg,
        "slice_title": slice_title,
        "decimals": _decimals,
        "signed": _signed,
        "short": _short,
        "grouped": _grouped,
    }
    return template(TEMPLATE, filters=filters).render(
        report=report,
        pictures=draw(report),
        headline=headline_rows(report),
        verdicts=[verdict(report, slice_name) for slice_name in report.headlines],
        comparisons=sum(len(found) for found in report.differences.values()),
        too_small=too_small(report),
        warnings=acceptance({each.ranker: each.means() for each in report.evaluations}, report.main_metric).lines(),
        shown=strongest(report),
        list_metrics=list_metrics(report),
        tuned={name: choice for name, choice in report.tuning.items() if choice["trials"]},
        environment=flat(report.environment),
    )


def write_page(report: Report, path: Path) -> None:
    """Renders a report into a file, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(render(report), encoding="utf-8")


def headline_rows(report: Report) -> list[dict[str, Any]]:
    """Returns a row per ranker with a cell per headline slice: mean, interval, the model's difference, whether best."""
    keys = [metric_key(report.main_metric, name) for name in report.headlines]
    best = {key: max(found[key].mean for found in report.intervals.values() if key in found) for key in keys}
    return [
        {
            "ranker": ranker,
            "cells": [
                {
                    "interval": (interval := found.get(key)),
                    "difference": report.differences.get(ranker, {}).get(key),
                    "is_best": interval is not None and interval.mean == best[key],
                }
                for key in keys
            ],
        }
        for ranker, found in report.intervals.items()
    ]


def verdict(report: Report, slice_name: str) -> dict[str, Any]:
    """Compares the model with the baselines in one slice, by simultaneous bounds.

    Returns:
        The slice, the model's interval, the best baseline and its interval (null if there is none), the difference to
        it, a phrase for each baseline that is ahead, and the names of those over which the model's lead may be due to
        chance.
    """
    key = metric_key(report.main_metric, slice_name)
    found = {name: differences[key] for name, differences in report.differences.items() if key in differences}
    # All are measured on the same listeners, so the best baseline has the smallest difference from the model.
    ranked = sorted(found, key=lambda name: found[name].mean)
    best = ranked[0] if ranked else None
    return {
        "slice": slice_name,
        "model": report.intervals[report.model.ranker][key],
        "best": best,
        "best_interval": None if best is None else report.intervals[best][key],
        "difference": None if best is None else found[best],
        "ahead": [_ahead(name, found[name]) for name in ranked if found[name].mean < 0],
        "unclear": [name for name in ranked if found[name].mean >= 0 and not found[name].is_clear],
    }


def too_small(report: Report) -> dict[str, list[tuple[str, int]]]:
    """Returns, by slicing, the slices with too few listeners for a mean, and their numbers of listeners."""
    counts, known = report.model.counts, report.intervals[report.model.ranker]
    found = {}
    for group, names in slice_groups(report).items():
        small = [name for name in names if metric_key(report.main_metric, name) not in known]
        if small:
            title = "kinds of targets" if group is None else group.replace("_", " ")
            found[title] = [
                (slice_title(name) if group is None else name.partition(":")[2], counts[name]) for name in small
            ]
    return found


def _ahead(name: str, difference: Difference) -> str:
    # Subtracted from zero, so that no zero is negative.
    low, high = 0.0 - difference.high_of_all, 0.0 - difference.low_of_all
    chance = "" if difference.is_clear else "; may be chance"
    return f"{name} by {-difference.mean:.4f} ({_decimals(low)} to {_decimals(high)}{chance})"


def _decimals(value: float | None, digits: int = 4) -> str:
    """Formats a number with a minus sign that is as wide as a plus sign; a dash for null."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _short(value: float | None) -> str:
    """Formats a number of any size, such as plays or shares."""
    return _decimals(value, 4 if value is None or abs(value) < 10 else 1)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _grouped(value: int | float) -> str:
    return f"{value:,.0f}"
