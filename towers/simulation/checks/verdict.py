"""The verdict of a check: every limit with its figure, and whether agents may be trained in the simulator."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from towers.errors import UserError
from towers.manifest import json_numbers, read_json

FILE: Final = "check.json"
TRIALS: Final = ("real_from_real", "real_from_shuffled")
"""Names of the limits on the classifier's own trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A figure and its bounds.

    Args:
        name: name, of letters, digits and `_`.
        title: short title for display.
        told: unit of the figure.
        figure: figure; NaN where it could not be measured, which does not pass.
        least: lower bound; null: none.
        most: upper bound; null: none.
        low: lower end of the figure's 95 % interval; null without one.
        high: upper end of the interval; null without one.
        noise: 95 % quantile of the figure that the sample's size causes alone; null where unknown.
    """

    name: str
    title: str
    told: str
    figure: float
    least: float | None
    most: float | None
    low: float | None = None
    high: float | None = None
    noise: float | None = None

    @property
    def passed(self) -> bool:
        """True if the figure was measured and lies within its bounds."""
        is_above = self.least is None or self.figure >= self.least
        is_below = self.most is None or self.figure <= self.most
        return math.isfinite(self.figure) and is_above and is_below

    @property
    def can_tell(self) -> bool:
        """True if the sample is large enough: the interval is on one side of each bound, or narrower than the limit."""
        if self.low is None or self.high is None:
            return math.isfinite(self.figure)
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return False
        width = self.high - self.low
        is_between = any(one is not None and self.low < one < self.high for one in (self.least, self.most))
        return not is_between or width <= abs(self.most if self.most is not None else self.least or 0.0)

    @property
    def allowed(self) -> str:
        """Bounds in words, such as `at most 0.05`."""
        if self.least is not None and self.most is not None:
            return f"±{self.most:g}" if self.least == -self.most else f"{self.least:g} to {self.most:g}"
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"

    def line(self) -> str:
        """Returns one line for display: title, figure and bounds."""
        figure = f"{self.figure:.4g}" if math.isfinite(self.figure) else "not measured"
        return f"{self.title}: {figure} ({self.told}; {self.allowed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All limits of a check, in the order in which they are reported."""

    limits: tuple[Limit, ...]

    @property
    def passed(self) -> bool:
        """True if every limit is kept."""
        return all(one.passed for one in self.limits)

    @property
    def failed(self) -> tuple[Limit, ...]:
        """Limits that are missed."""
        return tuple(one for one in self.limits if not one.passed)

    @property
    def words(self) -> str:
        """Verdict in a sentence or two."""
        failed = [one.title.lower() for one in self.failed]
        if not failed:
            return f"The simulator keeps all {len(self.limits)} limits."
        words = f"The simulator misses {len(failed)} of {len(self.limits)} limits: {', '.join(failed)}."
        if any(one.name in TRIALS for one in self.failed):
            words += " The classifier failed its own trial: what it says of the simulator does not count."
        return words

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON values; numbers that are not finite become null."""
        limits = [asdict(one) | {"passed": one.passed, "can_tell": one.can_tell} for one in self.limits]
        return json_numbers({"passed": self.passed, "words": self.words, "limits": limits})

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Verdict":
        """Rebuilds the verdict from the result of `to_json`."""
        names = [each.name for each in fields(Limit)]
        limits = []
        for one in told["limits"]:
            columns: dict[str, Any] = {name: one[name] for name in names}
            columns["figure"] = math.nan if one["figure"] is None else float(one["figure"])
            limits.append(Limit(**columns))
        return cls(limits=tuple(limits))

    @classmethod
    def read(cls, folder: Path) -> "Verdict | None":
        """Reads the verdict from a simulator's folder; null where the simulator was not checked yet.

        Raises:
            UserError: the file is no result of a check.
        """
        path = folder / FILE
        if not path.exists():
            return None
        told = read_json(path)
        try:
            return cls.from_json(told["verdict"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: not a check of a simulator; run towers simulate action=check again") from None


def require_checked(folder: Path, force: bool) -> Verdict | None:
    """Returns a simulator's verdict, and refuses a simulator that may not be used for training.

    Args:
        folder: folder of the simulator.
        force: whether to accept it in any case.

    Returns:
        The verdict; null where the simulator was forced without any check.

    Raises:
        UserError: the simulator was not checked or misses a limit, and `force` is false.
    """
    verdict = Verdict.read(folder)
    if force or (verdict is not None and verdict.passed):
        return verdict
    way_out = "or take it as it is with force=true"
    if verdict is None:
        raise UserError(f"{folder}: this simulator was not checked; run towers simulate action=check, {way_out}")
    lines = "; ".join(one.line() for one in verdict.failed)
    raise UserError(f"{folder}: this simulator misses limits of its check ({lines}); fit it anew, {way_out}")
