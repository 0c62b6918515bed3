"""How a model stands among the baselines of its evaluation: what is said first, and what decides on publishing."""

from collections.abc import Mapping
from dataclasses import dataclass

from towers.evaluation.result import ALL, metric_key, split_key

POPULARITY, RANDOM, LISTEN_CHANCE = "popularity", "random", "towers, listen chance"
SLICES = ("all", "discovery")
"""By which a model is judged: all that listeners chose, and what they had not heard before."""

Means = Mapping[str, Mapping[str, float]]
"""Ranker -> key (`recall@20/discovery`) -> mean, as metrics.json has them, the model's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What there is to say before the tables.

    Args:
        metric: without a slice, such as `recall@20`.
        below_popularity: by key, the model's figure and popularity's, where the model's is lower.
        behind: by key, the baselines whose figure is higher, best first, where they are most of all.
        num_baselines: chance left out.
        unjudged: why nothing can be said; null where something can.
    """

    metric: str
    below_popularity: dict[str, tuple[float, float]]
    behind: dict[str, list[tuple[str, float]]]
    num_baselines: int
    unjudged: str | None

    @property
    def refusal(self) -> str | None:
        """Why the model is not to be published without being asked; null where it may be."""
        if self.unjudged is not None:
            return self.unjudged
        told = [f"{key} {own:.3f} against {other:.3f}" for key, (own, other) in self.below_popularity.items()]
        return f"the model is below popularity: {', '.join(told)}" if told else None

    def lines(self) -> list[str]:
        """For people, the worst first; none where the model is ahead of most."""
        lines = [f"{self.refusal}; the most played serves listeners better"] if self.below_popularity else []
        for key, ahead in self.behind.items():
            named = ", ".join(f"{name} {figure:.3f}" for name, figure in ahead[:3])
            lines.append(f"the model is behind {len(ahead)} of {self.num_baselines} baselines on {key}: {named}")
        return lines


def acceptance(means: Means, metric: str) -> Acceptance:
    """Judges the model by `metric` on all targets and on discovery.

    Args:
        means: of all rankers, the model's first.
        metric: without a slice; a key that the model has no figure for is not judged.
    """
    own = own_means(means)
    rivals = {name: figures for name, figures in [*means.items()][1:] if name not in (RANDOM, LISTEN_CHANCE)}
    keys = [key for slice_name in SLICES if (key := metric_key(metric, slice_name)) in own]
    below = lower(own, rivals.get(POPULARITY, {}), metric)
    behind = {}
    for key in keys:
        ahead = [(name, figures[key]) for name, figures in rivals.items() if figures.get(key, 0.0) > own[key]]
        if 2 * len(ahead) > len(rivals):
            behind[key] = sorted(ahead, key=lambda one: -one[1])
    return Acceptance(
        metric=split_key(metric)[0],
        below_popularity=below,
        behind=behind,
        num_baselines=len(rivals),
        unjudged=_unjudged(keys, metric, POPULARITY in rivals),
    )


def own_means(means: Means) -> dict[str, float]:
    """The figures that a model is judged by: those of its inner products, which rank what is new, and on all targets,
    where it has them, those of the chance of a listen, which puts what was heard before on one scale with it.

    Args:
        means: of all rankers, the model's first; empty gives none.
    """
    own = dict(next(iter(means.values()), {}))
    by_chance = means.get(LISTEN_CHANCE, {})
    return {**own, **{key: by_chance[key] for key in own.keys() & by_chance.keys() if split_key(key)[1] == ALL}}


def lower(own: Mapping[str, float], other: Mapping[str, float], metric: str) -> dict[str, tuple[float, float]]:
    """By key, both figures where one's own is lower; keys that one of the two has no figure for are left out.

    Args:
        own: figures by key.
        other: likewise.
        metric: without a slice; it is compared on all targets and on discovery.
    """
    keys = [metric_key(metric, slice_name) for slice_name in SLICES]
    return {key: (own[key], other[key]) for key in keys if key in own and key in other and own[key] < other[key]}


def _unjudged(keys: list[str], metric: str, has_popularity: bool) -> str | None:
    if not keys:
        return f"too few listeners for a figure of {metric} (evaluation.min_users)"
    return None if has_popularity else "its evaluation has no popularity beside it (evaluation.baselines.popularity)"
