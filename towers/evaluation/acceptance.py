"""Comparison of a model with the baselines of its evaluation, which decides whether it may be published."""

from collections.abc import Mapping
from dataclasses import dataclass

from towers.evaluation.result import ALL, metric_key, split_key

POPULARITY, RANDOM, LISTEN_CHANCE = "popularity", "random", "towers, listen chance"
SLICES = ("all", "discovery")
"""Slices by which a model is judged: all contents that listeners chose, and those they had not heard before."""

Means = Mapping[str, Mapping[str, float]]
"""Ranker -> key (`recall@20/discovery`) -> mean, as in metrics.json, with the model first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Verdict on a model compared with its baselines.

    Args:
        metric: metric without a slice, such as `recall@20`.
        below_popularity: means of the model and of popularity, by key, for keys with a lower mean of the model.
        behind: baselines with a higher mean, best first, by key, for keys where these are the majority.
        num_baselines: number of baselines, without the random one.
        unjudged: reason why there is no verdict; null if there is one.
    """

    metric: str
    below_popularity: dict[str, tuple[float, float]]
    behind: dict[str, list[tuple[str, float]]]
    num_baselines: int
    unjudged: str | None

    @property
    def refusal(self) -> str | None:
        """Reason why the model must not be published automatically; null if it may be."""
        if self.unjudged is not None:
            return self.unjudged
        told = [f"{key} {own:.3f} against {other:.3f}" for key, (own, other) in self.below_popularity.items()]
        return f"the model is below popularity: {', '.join(told)}" if told else None

    def lines(self) -> list[str]:
        """Returns messages for the user, the worst first; none if the model is ahead of most baselines."""
        lines = [f"{self.refusal}; the most played serves listeners better"] if self.below_popularity else []
        for key, ahead in self.behind.items():
            named = ", ".join(f"{name} {figure:.3f}" for name, figure in ahead[:3])
            lines.append(f"the model is behind {len(ahead)} of {self.num_baselines} baselines on {key}: {named}")
        return lines


def acceptance(means: Means, metric: str) -> Acceptance:
    """Judges the model by `metric` on all targets and on discovery.

    Args:
        means: means of all rankers, the model first.
        metric: metric without a slice; a key for which the model has no mean is not judged.
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
    """Returns the means by which a model is judged.

    These are the means of its inner products, which rank new contents, and for all targets the means of the chance of
    a listen, if it has them, because that puts heard and new contents on one scale.

    Args:
        means: means of all rankers, the model first; may be empty.
    """
    own = dict(next(iter(means.values()), {}))
    by_chance = means.get(LISTEN_CHANCE, {})
    return {**own, **{key: by_chance[key] for key in own.keys() & by_chance.keys() if split_key(key)[1] == ALL}}


def lower(own: Mapping[str, float], other: Mapping[str, float], metric: str) -> dict[str, tuple[float, float]]:
    """Returns both means, by key, where the model's is lower; keys missing on either side are skipped.

    Args:
        own: means of the model by key.
        other: means to compare with by key.
        metric: metric without a slice; it is compared on all targets and on discovery.
    """
    keys = [metric_key(metric, slice_name) for slice_name in SLICES]
    return {key: (own[key], other[key]) for key in keys if key in own and key in other and own[key] < other[key]}


def _unjudged(keys: list[str], metric: str, has_popularity: bool) -> str | None:
    if not keys:
        return f"too few listeners for a figure of {metric} (evaluation.min_users)"
    return None if has_popularity else "its evaluation has no popularity baseline (evaluation.baselines.popularity)"
