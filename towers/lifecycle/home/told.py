"""Results of learning from a home page's log, in lines for people."""

from pathlib import Path

from towers.evaluation.reliability import reliability
from towers.lifecycle.home.learning import Lesson
from towers.lifecycle.home.versions import Made


def lines_of(made: Made, folder: Path, log_name: str) -> list[str]:
    """Returns lines on what was learned and written, or why nothing was.

    Args:
        made: result of learning.
        folder: folder of the policy.
        log_name: name of the source that it learned from.
    """
    if made.folder is None:
        reasons = [] if made.lesson is None else _left_out(made.lesson)
        return [f"nothing to learn: {log_name} has no row that {folder} has not learned from", *reasons]
    lines = ["there is no log: the policy has learned nothing yet, and explores"]
    if made.lesson is not None:
        lines = [*_learned(made.lesson), *_left_out(made.lesson), f"held out to judge it by: {made.held_out:,}"]
    serves = "it serves" if made.is_current else "it does not serve: action=gate judges and publishes it"
    return [*lines, f"wrote {made.folder}; {serves}"]


def _learned(lesson: Lesson) -> list[str]:
    """Returns lines on what it learned from, and on its predictions."""
    figures = ", ".join(f"{name} {mean:.4f}" for name, mean in lesson.figures.items())
    lines = [f"learned from {lesson.rows:,} cards that were shown, in {lesson.batches} updates; each: {figures}"]
    if found := reliability(lesson.predicted, lesson.observed):
        lines.append(
            f"before it learned them, it expected {found['expected']:.4f} of a card that was seen, and "
            f"{found['observed']:.4f} came; off by {found['calibration_error']:.0%} in bins"
        )
    return lines


def _left_out(lesson: Lesson) -> list[str]:
    return [f"left out, {reason}: {rows:,}" for reason, rows in lesson.left_out.items()]
