"""The tables of a check, as text: the same cells in a terminal and on the page."""

from rich.table import Table

from towers.lifecycle.home_report.tables import Cells, text
from towers.simulation.checks.check import MOST_AUC, Checked
from towers.simulation.checks.comparison import Compared
from towers.simulation.checks.verdict import Limit, Verdict

TOO_SMALL = "the sample cannot tell"


def verdict_cells(verdict: Verdict) -> Cells:
    """Makes a row for each limit: outcome, figure with interval, what passes, and the effect of the sample's size."""
    rows = tuple(
        (one.title, outcome(one), text(one.figure, _form(one)), _interval(one.low, one.high, ".4f"), one.allowed,
         one.told, text(one.noise, ".4f"))
        for one in verdict.limits
    )  # fmt: skip
    headings = ("limit", "outcome", "figure", "95 % interval", "passes", "told as", "chance alone")
    return Cells(headings=headings, rows=rows)


def verdict_table(verdict: Verdict) -> Table:
    """Returns `verdict_cells` for a terminal."""
    return verdict_cells(verdict).rich()


def outcome(limit: Limit) -> str:
    """Returns in words whether the limit is held, and whether another sample might say otherwise."""
    said = "held" if limit.passed else "missed" if limit.figure == limit.figure else "not measured"
    return said if limit.can_tell or said == "not measured" else f"{said}, but {TOO_SMALL}"


def statistics_cells(checked: Checked) -> Cells:
    """Makes a row for each figure, and for each curve with its bins together: real, simulated and their difference."""
    rows = tuple(_statistic(one) for one in checked.compared)
    headings = ("statistic", "real", "simulated", "difference", "mean over bins")
    return Cells(headings=headings, rows=rows)


def classifier_cells(checked: Checked) -> Cells:
    """Makes a row for each trial of the classifier."""
    apart = checked.told_apart
    trials = {
        "real from simulated": apart.simulated,
        "one half of the real listeners from the other": apart.real,
        "real from real with shuffled actions": apart.shuffled,
        "real from real with actions shuffled within each session": apart.shuffled_within,
    }
    rows = tuple((name, text(one.auc, ".3f"), _interval(one.low, one.high, ".3f")) for name, one in trials.items())
    return Cells(headings=("sessions told apart", "AUC", "95 % interval"), rows=rows)


def features_cells(checked: Checked) -> Cells:
    """Makes a row for each feature, the most telling first."""
    rows = tuple((name, text(lost, ".3f")) for name, lost in checked.told_apart.features.items())
    return Cells(headings=("feature of a session", "AUC lost without it"), rows=rows)


def segments_cells(checked: Checked) -> Cells:
    """Makes a row for each statistic and a column for each segment: the difference, marked if clearly beyond the
    limit."""
    headings = ("statistic", *(f"{one.segment.name} ({int(one.segment.among.sum()):,})" for one in checked.segments))
    rows = [
        (statistic.statistic.title, *(_of_segment(one.compared[place]) for one in checked.segments))
        for place, statistic in enumerate(checked.compared)
    ]
    rows.append(("Classifier: real from simulated", *(text(one.told.auc, ".3f") for one in checked.segments)))
    return Cells(headings=headings, rows=tuple(rows))


def failures(checked: Checked) -> list[str]:
    """Returns a line for each segment that is clearly beyond a limit, with the statistics."""
    found = []
    for one in checked.segments:
        beyond = [each.statistic.title.lower() for each in one.compared if each.is_clearly_beyond]
        if one.told.low > MOST_AUC:
            beyond.append("told from real ones by the classifier")
        if beyond:
            found.append(f"{one.segment.name} ({one.segment.words}): {', '.join(beyond)}")
    return found


def _form(limit: Limit) -> str:
    """Returns the number format; figures without an interval are counts."""
    return ".4f" if limit.low is not None else ".0f"


def _of_segment(one: Compared) -> str:
    form = "+.3f" if len(one.labels) == 1 else ".3f"
    return text(one.difference, form) + (" beyond" if one.is_clearly_beyond else "")


def _statistic(one: Compared) -> tuple[str, ...]:
    is_single = len(one.labels) == 1
    real, simulated = (_value(curve.values[0], curve.low[0], curve.high[0]) if is_single else "see chart"
                       for curve in (one.real, one.simulated))  # fmt: skip
    mean = text(one.mean, ".4f") if one.statistic.told == "points" and not is_single else "–"
    return (one.statistic.title, real, simulated, text(one.difference, "+.4f" if is_single else ".4f"),
    mean)  # fmt: skip


def _value(value: float, low: float, high: float) -> str:
    return f"{text(value, '.3f')} ({_interval(low, high, '.3f')})"


def _interval(low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None or low != low or high != high:
        return "–"
    return f"{text(low, form)} to {text(high, form)}"
