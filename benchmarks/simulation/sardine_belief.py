"""Beliefs about listeners' tastes by their clicks: a probit model with a normal belief for each listener.

A slot is looked at with a chance that falls with its place; what is looked at is clicked with a chance of
`Phi(slope * (item . taste - 1))`. Slope, chances of slots, and how tastes vary among listeners are fitted to a log of
slates and clicks; no taste is told. For a new listener the belief starts at what tastes are among those of the log, and
is updated slot by slot in closed form (assumed-density filtering: after each slot the normal that has the mean and
covariance of the exact posterior).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import log_ndtr, ndtr

from benchmarks.simulation.sardine_world import SILENT_STEPS, Seen

HEARS = 0.5
"""Least share of usual clicks, by steps since a topic was at its bound, with which silence tells of taste."""


@dataclass(frozen=True, kw_only=True)
class ClickModel:
    """Fitted to a log.

    Args:
        slope: of relevance, whose threshold is 1.
        slots: chance that a slot is looked at, relative to the first.
        mean: of tastes among listeners.
        covariance: of tastes among listeners.
        hears: by steps since a topic's recent clicks were at their bound, clicks relative to those of other steps.
    """

    slope: float
    slots: Float[np.ndarray, " slots"]
    mean: Float[np.ndarray, " topics"]
    covariance: Float[np.ndarray, "topics topics"]
    hears: Float[np.ndarray, " steps"]

    def with_slope(self, slope: float) -> "ClickModel":
        """The model with another slope."""
        return replace(self, slope=slope)


@dataclass(frozen=True, kw_only=True)
class ClickLog:
    """Slates and clicks of listeners, step by step; `since_full` is before the slate, as in `Seen`."""

    slates: Int[np.ndarray, "listeners steps slots"]
    clicks: Int[np.ndarray, "listeners steps slots"]
    since_full: Int[np.ndarray, "listeners steps"]

    def of(self, rows: slice) -> "ClickLog":
        """Some of the listeners."""
        return ClickLog(slates=self.slates[rows], clicks=self.clicks[rows], since_full=self.since_full[rows])


class Belief:
    """Beliefs about each listener's taste.

    Args:
        model: fitted to a log.
        items: vectors.
        number: of listeners.
    """

    def __init__(self, model: ClickModel, items: Float[np.ndarray, "items topics"], number: int):
        self._model, self._items = model, items
        self.mean = np.tile(model.mean, (number, 1))
        self.covariance = np.tile(model.covariance, (number, 1, 1))
        dim = items.shape[1]
        self._pairs = (items[:, :, None] * items[:, None, :]).reshape(len(items), dim * dim)

    def update(self, seen: Seen, was_since_full: Int[np.ndarray, " listeners"]) -> None:
        """Takes the last slate and its clicks in; a slate without a click tells nothing of who was likely bored."""
        self.update_by(seen.slates, seen.clicks, was_since_full)

    def update_by(
        self, slates: Int[np.ndarray, "listeners slate"], clicks: Int[np.ndarray, "listeners slate"],
        was_since_full: Int[np.ndarray, " listeners"],
    ) -> None:  # fmt: skip
        """See `update`."""
        hears = (self._model.hears[was_since_full] >= HEARS) | clicks.any(axis=1)
        for slot, chance in enumerate(self._model.slots):
            self._update_slot(self._items[slates[:, slot]], clicks[:, slot] > 0, chance, hears)

    def _update_slot(self, item: np.ndarray, is_clicked: np.ndarray, chance: float, hears: np.ndarray) -> None:
        along = np.einsum("ijk,ik->ij", self.covariance, item)
        deviation = np.sqrt(self._model.slope**-2 + (along * item).sum(axis=1))
        at = ((self.mean * item).sum(axis=1) - 1.0) / deviation
        log_density = -0.5 * at**2 - 0.5 * np.log(2.0 * np.pi)
        clicked = np.exp(log_density - log_ndtr(at))
        passed = chance * np.exp(log_density) / (1.0 - chance * ndtr(at) + 1e-12)
        slope = np.where(is_clicked, clicked, -passed) * hears / deviation
        bend = np.where(is_clicked, -clicked * (clicked + at), passed * (at - passed)) * hears / deviation**2
        self.mean += along * slope[:, None]
        self.covariance += along[:, :, None] * along[:, None, :] * bend[:, None, None]

    def relevance(self) -> tuple[Float[np.ndarray, "listeners items"], Float[np.ndarray, "listeners items"]]:
        """Expected relevance of each item, and its standard deviation."""
        variance = self.covariance.reshape(len(self.mean), -1) @ self._pairs.T
        return self.mean @ self._items.T, np.sqrt(np.maximum(variance, 0.0))

    def chances(self, relevance: np.ndarray, deviation: np.ndarray) -> Float[np.ndarray, "listeners items"]:
        """Returns the probability of a click of each item if it is looked at, all that is not known of the taste
        averaged over."""
        return ndtr((relevance - 1.0) / np.sqrt(self._model.slope**-2 + deviation**2))


def fit_clicks(log: ClickLog, items: Float[np.ndarray, "items topics"], rounds: int = 400) -> ClickModel:
    """The model of clicks and the spread of tastes that a log tells of: the largest posterior by Adam, tastes normal
    about their mean a priori."""
    clicks = log.clicks.sum(axis=2)
    usual = clicks[log.since_full == SILENT_STEPS].mean()
    hears = np.array([
        clicks[log.since_full == steps].mean() / usual if (log.since_full == steps).any() else 1.0
        for steps in range(SILENT_STEPS + 1)
    ])  # fmt: skip
    used = torch.from_numpy((hears >= HEARS)[log.since_full])
    shown = torch.from_numpy(items[log.slates]).float()[used]
    clicked = torch.from_numpy(log.clicks > 0)[used]
    listener = torch.arange(len(log.slates))[:, None].expand(used.shape)[used]
    tastes = torch.full((len(log.slates), items.shape[1]), 0.4).requires_grad_()
    log_slope, slots = torch.tensor(1.5).requires_grad_(), torch.full((log.slates.shape[2],), 1.0).requires_grad_()
    optimizer = torch.optim.Adam([{"params": [tastes], "lr": 0.03}, {"params": [log_slope, slots], "lr": 0.03}])
    for _ in range(rounds):
        optimizer.zero_grad()
        at = log_slope.exp() * (torch.einsum("nst,nt->ns", shown, tastes[listener]) - 1.0)
        chance = torch.sigmoid(slots + 1.5) * torch.special.ndtr(at).clamp(1e-6, 1 - 1e-6)
        spread = tastes - tastes.mean(dim=0)
        loss = torch.nn.functional.binary_cross_entropy(chance, clicked.float(), reduction="sum")
        (loss + 2.0 * (spread**2).sum()).backward()
        optimizer.step()
    found = tastes.detach().numpy().astype(float)
    return ClickModel(
        slope=float(log_slope.detach().exp()), slots=torch.sigmoid(slots + 1.5).detach().numpy().astype(float),
        mean=found.mean(axis=0), covariance=np.cov(found.T), hears=hears,
    )  # fmt: skip


def foretold(model: ClickModel, log: ClickLog, items: Float[np.ndarray, "items topics"]) -> float:
    """Log-likelihood of a log's clicks by beliefs of the steps before each, a listener."""
    belief, total = Belief(model, items, len(log.slates)), 0.0
    for step in range(log.slates.shape[1]):
        slates, clicks, since_full = log.slates[:, step], log.clicks[:, step], log.since_full[:, step]
        chance = np.take_along_axis(belief.chances(*belief.relevance()), slates, axis=1) * model.slots
        chance = np.clip(chance, 1e-5, 1.0 - 1e-5)
        hears = (model.hears[since_full] >= HEARS)[:, None]
        total += float((np.where(clicks > 0, np.log(chance), np.log1p(-chance)) * hears).sum())
        belief.update_by(slates, clicks, since_full)
    return total / len(log.slates)
