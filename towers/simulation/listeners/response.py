"""A listener's reaction to a content that plays: skip and its time, finish, like, save or dislike."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners import features
from towers.simulation.listeners.logistic import MixedLogistic, fit_mixed_logistic
from towers.simulation.listeners.session_log import FINISH, FINISHED, PARTIAL, SKIP, SessionLog
from towers.simulation.listeners.space import DURATION_GROUPS, Space
from towers.simulation.listeners.state import ListenerState

TRAITS: Final = ("skip", "finish", "like", "save", "dislike")
"""Chances with a trait of the listener: a skip; a finish of a play not skipped; a like and a save of a play not
skipped; a dislike of a skipped one."""
_PAIRED: Final = (
    "taste_affinity", "session_affinity", "fast_affinity", "slow_affinity", "is_known", "known_plays",
    "activation", "known_skip_share", "position", "popularity", "region_share", "early", "satiation",
)  # fmt: skip
"""Features whose products the chance of a skip also reads; a boosted tree finds no more than these in the catalogue."""
_QUANTILES: Final = 201
_FEWEST: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The fitted chances of reactions to a content that plays.

    Args:
        chances: chances by their names in `TRAITS`.
        centre: `[paired]`, means of the features whose products are read.
        width: `[paired]`, standard deviations of these features.
        amounts: `[outcomes, groups, quantiles]`, quantiles at even steps from 0 to 1 of the amount played, by outcome
            (`SKIP`, `PARTIAL`, `FINISH`) and by the group of the content's length.
        in_seconds: `[outcomes, groups]`, whether an amount is in seconds rather than a share of the content, for
            amounts that do not depend on length, such as of listeners who stop after an hour.
        num_contexts: number of codes of contexts.
    """

    chances: dict[str, MixedLogistic]
    centre: Float[np.ndarray, " paired"]
    width: Float[np.ndarray, " paired"]
    amounts: Float[np.ndarray, "outcomes groups quantiles"]
    in_seconds: Bool[np.ndarray, "outcomes groups"]
    num_contexts: int

    def design(
        self,
        of_content: Float[np.ndarray, "*rows content_features"],
        of_moment: Float[np.ndarray, "*rows moment_features"],
        context: Integer[np.ndarray, "*rows"],
    ) -> Float[np.ndarray, "*rows features"]:
        """Returns the input of the chances, float32: the features, the context, and products of pairs."""
        return design(of_content, of_moment, context, self.centre, self.width, self.num_contexts)

    def traits_of(
        self,
        log: SessionLog,
        space: Space,
        of_content: Float[np.ndarray, "plays content_features"],
        of_moment: Float[np.ndarray, "plays moment_features"],
    ) -> dict[str, tuple[Float[np.ndarray, " listeners"], Float[np.ndarray, " listeners"]]]:
        """Returns the posterior mode and standard deviation of each trait for each listener of a log, by name."""
        read = self.design(of_content, of_moment, log.context)
        group, number = space.duration_group[log.content], len(log.user_ids)
        return {
            name: self.chances[name].traits(
                _with_length(name, read[rows], group[rows]), happened[rows], log.listener[rows], number
            )
            for name, (rows, happened) in _asked(log).items()
        }

    def of_plays(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
    ) -> Float[np.ndarray, "some many features"]:
        """Returns `design` for contents that listeners might play now, many for each."""
        shape = content.shape
        moment = np.broadcast_to(features.of_moment(state, rows)[:, None], (*shape, len(features.OF_MOMENT)))
        context = np.broadcast_to(state.context[rows, None], shape)
        return self.design(features.of_content(state, rows, content), moment, context)

    def skip_chance(
        self, read: Float[np.ndarray, "*rows features"], trait: Float[np.ndarray, "*#rows"]
    ) -> Float[np.ndarray, "*rows"]:
        """Returns the chance that each content is skipped.

        Args:
            read: result of `design`.
            trait: trait `skip` of the listener.
        """
        return self.chances["skip"].chance(read, trait)

    def effect(self, name: str, read: Float[np.ndarray, "rows features"]) -> float:
        """Returns the increase of the log-odds of a skip per unit of one feature, averaged over rows.

        Products that contain the feature are included.

        Args:
            name: a name in `features.OF_CONTENT` or `features.OF_MOMENT`.
            read: result of `design`.
        """
        plain, chance = features.OF_CONTENT + features.OF_MOMENT, self.chances["skip"]
        weights = chance.weights / chance.scale
        total = float(weights[plain.index(name)])
        if name not in _PAIRED:
            return total
        paired = (read[:, _places()].mean(axis=0, dtype=float) - self.centre) / self.width
        place, products = _PAIRED.index(name), weights[len(plain) + self.num_contexts - 1 :]
        for weight, one, other in zip(products, *np.triu_indices(len(_PAIRED)), strict=True):
            total += float(weight * ((one == place) * paired[other] + (other == place) * paired[one])) / float(
                self.width[place]
            )
        return total

    def draw(
        self,
        read: Float[np.ndarray, "rows features"],
        space: Space,
        content: Int[np.ndarray, " rows"],
        traits: dict[str, Float[np.ndarray, " rows"]],
        rng: np.random.Generator,
    ) -> "Reaction":
        """Draws the reactions of listeners to one content each.

        Args:
            read: result of `design`.
            space: space of the contents.
            content: rows of the contents.
            traits: traits of each row's listener, by name.
            rng: generator of the draws.
        """
        drawn = rng.random((len(TRAITS) + 1, len(read)))
        group = space.duration_group[content]
        happened = {
            name: drawn[place] < self.chances[name].chance(_with_length(name, read, group), traits[name])
            for place, name in enumerate(TRAITS)
        }
        is_skip = happened["skip"]
        outcome = np.where(is_skip, SKIP, np.where(happened["finish"], FINISH, PARTIAL)).astype(np.int8)
        step = drawn[-1] * (self.amounts.shape[-1] - 1)
        low = step.astype(int)
        below, above = self.amounts[outcome, group, low], self.amounts[outcome, group, low + 1]
        amount = below + (step - low) * (above - below)
        seconds = space.duration_ms[content] / 1000.0
        fraction = np.where(self.in_seconds[outcome, group], amount / seconds, amount)
        # A partial play is not finished, even where the drawn seconds exceed the content's length.
        most = np.where(outcome == PARTIAL, np.nextafter(np.float32(FINISHED), np.float32(0)), 1.0)
        return Reaction(
            outcome=outcome, fraction=np.clip(fraction, 0.0, most).astype(np.float32),
            liked=~is_skip & happened["like"], saved=~is_skip & happened["save"],
            disliked=is_skip & happened["dislike"],
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Returns the parameters by name, for a file."""
        chances = {name: chance.facts() for name, chance in self.chances.items()}
        return {"chances": chances} | {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "Response":
        """Rebuilds the chances from the result of `facts`."""
        chances = {name: MixedLogistic(**chance) for name, chance in facts["chances"].items()}
        return cls(chances=chances, **{name: facts[name] for name in _PLAIN})


_PLAIN: Final = ("centre", "width", "amounts", "in_seconds", "num_contexts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Reactions of listeners to one content each; columns as in `SessionLog`."""

    outcome: Int[np.ndarray, " rows"]
    fraction: Float[np.ndarray, " rows"]
    liked: Bool[np.ndarray, " rows"]
    saved: Bool[np.ndarray, " rows"]
    disliked: Bool[np.ndarray, " rows"]


def design(
    of_content: Float[np.ndarray, "*rows content_features"],
    of_moment: Float[np.ndarray, "*rows moment_features"],
    context: Integer[np.ndarray, "*rows"],
    centre: Float[np.ndarray, " paired"],
    width: Float[np.ndarray, " paired"],
    num_contexts: int,
) -> Float[np.ndarray, "*rows features"]:
    """See `Response.design`."""
    plain = np.concatenate([of_content, of_moment], axis=-1)
    paired = (plain[..., _places()] - centre.astype(np.float32)) / width.astype(np.float32)
    first, second = np.triu_indices(len(_PAIRED))
    # All contexts but the last, which is the reference of the bias.
    contexts = context[..., None] == np.arange(num_contexts - 1)
    return np.concatenate([plain, contexts, paired[..., first] * paired[..., second]], axis=-1, dtype=np.float32)


def names(contexts: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the columns of `design`."""
    first, second = np.triu_indices(len(_PAIRED))
    products = tuple(f"{_PAIRED[one]} x {_PAIRED[other]}" for one, other in zip(first, second, strict=True))
    return features.OF_CONTENT + features.OF_MOMENT + contexts[:-1] + products


def _places() -> list[int]:
    known = features.OF_CONTENT + features.OF_MOMENT
    return [known.index(name) for name in _PAIRED]


def _asked(log: SessionLog) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns, by name of a chance, the plays that it applies to, and whether the event happened in these."""
    is_skip = log.outcome == SKIP
    return {
        "skip": (np.ones(len(log), bool), is_skip),
        "finish": (~is_skip, log.outcome == FINISH),
        "like": (~is_skip, log.liked),
        "save": (~is_skip, log.saved),
        "dislike": (is_skip, log.disliked),
    }


def _with_length(
    name: str, read: Float[np.ndarray, "rows features"], group: Integer[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows more_features"]:
    """Returns the input of a chance: a finish also depends on the length of the content."""
    if name != "finish":
        return read
    return np.concatenate([read, group[:, None] == np.arange(1, DURATION_GROUPS)], axis=1, dtype=np.float32)


def fit_response(
    log: SessionLog,
    space: Space,
    of_content: Float[np.ndarray, "plays content_features"],
    of_moment: Float[np.ndarray, "plays moment_features"],
    listener_weights: Float[np.ndarray, " listeners"],
    start: Response | None = None,
) -> Response:
    """Fits all chances to the plays of a log.

    Args:
        log: plays.
        space: space of the contents, with the plays of the fit.
        of_content: features before each play.
        of_moment: features before each play.
        listener_weights: see `fit_mixed_logistic`.
        start: earlier fit to nearly the same plays, which makes this one faster.
    """
    if start:
        centre, width = start.centre, start.width
    else:
        plain = np.concatenate([of_content, of_moment], axis=-1)[:, _places()]
        centre, width = plain.mean(axis=0, dtype=float), np.maximum(plain.std(axis=0, dtype=float), 1e-6)
    read = design(of_content, of_moment, log.context, centre, width, len(log.contexts))
    group = space.duration_group[log.content]
    chances = {
        name: fit_mixed_logistic(
            _with_length(name, read[rows], group[rows]), happened[rows], log.listener[rows], listener_weights,
            start.chances[name] if start else None,
        )
        for name, (rows, happened) in _asked(log).items()
    }  # fmt: skip
    amounts, in_seconds = (start.amounts, start.in_seconds) if start else _amounts(log, space)
    return Response(
        chances=chances, centre=centre, width=width, amounts=amounts, in_seconds=in_seconds,
        num_contexts=len(log.contexts),
    )  # fmt: skip


def _amounts(log: SessionLog, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Fits `amounts` and `in_seconds` of `Response`."""
    steps = np.linspace(0.0, 1.0, _QUANTILES)
    amounts, in_seconds = np.empty((3, DURATION_GROUPS, _QUANTILES)), np.zeros((3, DURATION_GROUPS), bool)
    group = space.duration_group[log.content]
    seconds = log.fraction * space.duration_ms[log.content] / 1000.0
    for outcome in (SKIP, PARTIAL, FINISH):
        of_outcome = log.outcome == outcome
        for place in range(DURATION_GROUPS):
            rows = of_outcome & (group == place)
            # A group with too few plays gets the quantiles of all plays.
            rows = rows if rows.sum() >= _FEWEST else of_outcome
            share, taken = _quantiles(log.fraction[rows], steps), _quantiles(seconds[rows], steps)
            in_seconds[outcome, place] = _breadth(taken) < _breadth(share)
            amounts[outcome, place] = taken if in_seconds[outcome, place] else share
    return amounts, in_seconds


def _breadth(quantiles: Float[np.ndarray, " quantiles"]) -> float:
    """Returns the interquartile range of a distribution relative to its median."""
    quarter = len(quantiles) // 4
    return float((quantiles[-quarter - 1] - quantiles[quarter]) / max(quantiles[2 * quarter], 1e-9))


def _quantiles(values: Float[np.ndarray, " plays"], steps: Float[np.ndarray, " steps"]) -> np.ndarray:
    return np.quantile(values, steps) if len(values) else np.full(len(steps), 0.5)
