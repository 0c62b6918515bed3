"""The verdict of a gate: an outcome for each rule, and whether the challenger may be published."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from towers.errors import UserError
from towers.lifecycle.who import who
from towers.secrets import masked

Status = Literal["passed", "refused", "does not apply", "not yet"]
NOT_YET: Final = "needs evidence from later in the night"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of one rule.

    Args:
        rule: name of the rule in the configuration (`gate.rules.NAME`).
        status: result of the rule.
        words: one line for people, with figures, interval and the way out.
        figures: figures that it is based on.
        limit: limit that decided; null where none did.
        interval: 95 % interval of the figure that decided; null where there is none.
    """

    rule: str
    status: Status
    words: str
    figures: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    interval: tuple[float, float] | None = None

    def line(self) -> str:
        """Returns one line for people: the status, the name of the rule and its words."""
        return f"{self.status:<14} {self.rule}: {self.words}"


def first_night(rule: str) -> Outcome:
    """Returns the outcome of a rule that needs a champion where nothing has been published yet."""
    return Outcome(rule=rule, status="does not apply", words="no version serves yet, so there is no champion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """The record of who overrides the gate and publishes in spite of a refusal, and why.

    Args:
        why: reason for it.
        who: `user@host`.
    """

    why: str
    who: str


def force_of(force: bool, why: str | None, group: str = "gate") -> Force | None:
    """Reads `gate.force` and `gate.why`; null where the gate is not overruled.

    Args:
        force: whether to overrule the gate.
        why: reason for it.
        group: group of the configuration that the keys are in.

    Raises:
        UserError: the gate is overruled without a reason.
    """
    if not force:
        return None
    if why is None or not why.strip():
        raise UserError(f"{group}.force=true: say why, as {group}.why='TEXT'; it is kept with the version")
    return Force(why=masked(why.strip()), who=who())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Verdict of the gate on a challenger.

    Args:
        outcomes: an outcome for each rule, in the order of the configuration.
        smallest_loss: smallest loss of the main metric that this comparison can show, as a share of the champion's
            figure; null without a champion.
        force: who publishes in spite of it, and why; null: the verdict decides.
        more: page or command with more.
    """

    outcomes: tuple[Outcome, ...]
    smallest_loss: float | None = None
    force: Force | None = None
    more: str = ""

    @property
    def refused(self) -> tuple[Outcome, ...]:
        """Outcomes of the rules that refuse, overruled or not."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "refused")

    @property
    def passed(self) -> bool:
        """Returns whether the night goes on: no rule refuses, or the gate is overruled."""
        return not self.refused or self.force is not None

    @property
    def rules(self) -> str:
        """Names of the rules that refuse, for a line at the end of a night; empty where none does."""
        return ", ".join(outcome.rule for outcome in self.refused)

    def lines(self, is_full: bool = False) -> list[str]:
        """Returns lines for people: refusals or all outcomes, the smallest loss that shows, and where to find more.

        Args:
            is_full: whether to include rules that do not refuse.
        """
        lines = [outcome.line() for outcome in (self.outcomes if is_full else self.refused)]
        if self.force is not None:
            lines.append(f"forced by {self.force.who}: {self.force.why} (refused by: {self.rules or 'no rule'})")
        if self.smallest_loss is not None:
            lines.append(f"the smallest loss that these listeners show is {self.smallest_loss:.1%} of the champion's")
        if self.more and self.refused:
            lines.append(f"more: {self.more}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; a number that is not finite becomes text, as JSON cannot hold it."""
        return {
            "passed": self.passed,
            "refused": [outcome.rule for outcome in self.refused],
            "forced": None if self.force is None else asdict(self.force),
            "smallest_loss": self.smallest_loss,
            "outcomes": [_plain(asdict(outcome)) for outcome in self.outcomes],
            "more": self.more,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
