"""Features of a listener, a card and a time for linear models, with scores of all cards as one matrix product."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from towers.contract.durations import DAY_US
from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KINDS

WEEK_DAYS = 7
EPOCH_WEEKDAY = 3
"""Weekday of 1 January 1970, counted from Monday as 0: a Thursday."""
CYCLES = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
VALUE_OF_ANOTHER_WIDTH = "vectors have {found} columns, and the policy was made for {dim}"


class Features:
    """Features of pairs of a listener and a card; a linear model's scores are one matrix product over the cards.

    In order: the element-wise product of both vectors, which lets the model weigh each direction of the space; their
    inner product; the kind of the card, one-hot; time of day and day of the week, each as a point on a circle, for
    every kind; the named features of the pair; and 1.

    Without the products a model knows of the vectors only their inner product, which it can weigh as a whole.

    Args:
        dim: dimension of the vectors of listeners and cards.
        projection: `[dim, k]`, matrix that the vectors are multiplied by before their product, such as random or
            principal axes, so that there is less to learn; null: the vectors as they are.
        has_products: whether the element-wise product of both vectors is a feature.
        has_times: whether time of day and day of the week are features.
        pairs: names of the `Candidates.pairs` that are read, each roughly between 0 and 1.

    Raises:
        ValueError: `projection` is for vectors of another dimension.
    """

    def __init__(
        self,
        *,
        dim: int,
        projection: Sequence[Sequence[float]] | None = None,
        has_products: bool = True,
        has_times: bool = True,
        pairs: Sequence[str] = (),
    ):
        self.dim, self.pairs = dim, tuple(pairs)
        self._axes = None if projection is None else np.asarray(projection, dtype=np.float64)
        if self._axes is not None and (self._axes.ndim != 2 or len(self._axes) != dim):
            raise ValueError(f"projection must be [{dim}, k], got {list(self._axes.shape)}")
        self._has_products, self._has_times = has_products, has_times
        self._directions = 0 if not has_products else dim if self._axes is None else self._axes.shape[1]
        self.names: tuple[str, ...] = (
            *(f"product_{at}" for at in range(self._directions)),
            "inner_product",
            *KINDS,
            *(f"{cycle}_{kind}" for cycle in CYCLES for kind in KINDS if has_times),
            *self.pairs,
            "one",
        )
        self._prepared: tuple[object, object, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def settings(self) -> dict[str, object]:
        """Returns the keyword arguments as JSON values."""
        axes = None if self._axes is None else self._axes.tolist()
        return {"dim": self.dim, "projection": axes, "has_products": self._has_products,
                "has_times": self._has_times, "pairs": list(self.pairs)}  # fmt: skip

    def rows(self, outcomes: Outcomes) -> Float[np.ndarray, "rows features"]:
        """Returns the features of what was shown, a row for each outcome.

        Raises:
            ValueError: the vectors have another dimension, or a pair is missing.
        """
        context = outcomes.context
        pairs = self._named(outcomes.pairs)
        return self._of(context.user_vectors, outcomes.vectors, outcomes.kinds, context.times_us, pairs)

    def of_all(self, context: Context, candidates: Candidates) -> Float[np.ndarray, "listeners cards features"]:
        """Returns the features of every listener and card; `scores` gives the same products without building them.

        Raises:
            ValueError: the vectors have another dimension, or a pair is missing.
        """
        pairs = self._named(candidates.pairs)
        return self._of(
            context.user_vectors[:, None], candidates.vectors, candidates.kinds, context.times_us[:, None], pairs
        )

    def scores(
        self, thetas: Float[np.ndarray, "members features"], context: Context, candidates: Candidates
    ) -> Float[np.ndarray, "members listeners cards"]:
        """Returns the scores that linear models give every card, in the precision of `thetas`.

        The cards' part of the product is cached while `candidates` has the same arrays.

        Raises:
            ValueError: the vectors have another dimension, or a pair is missing.
        """
        users, at = context.user_vectors.astype(thetas.dtype, copy=False), self._directions
        if users.shape[1] != self.dim:
            raise ValueError(VALUE_OF_ANOTHER_WIDTH.format(found=users.shape[1], dim=self.dim))
        kinds = len(KINDS)
        products, inner = thetas[:, None, :at], thetas[:, None, at : at + 1]
        by_kind = thetas[:, None, at + 1 : at + 1 + kinds] + thetas[:, None, -1:]
        if self._has_times:
            of_times = thetas[:, at + 1 + kinds : at + 1 + kinds + len(CYCLES) * kinds]
            times = cycles(context.times_us).astype(thetas.dtype, copy=False)
            by_kind = by_kind + np.matmul(times, of_times.reshape(len(thetas), len(CYCLES), kinds))
        else:
            by_kind = np.broadcast_to(by_kind, (len(thetas), len(users), kinds))
        whole = inner * users
        if self._has_products and self._axes is None:
            whole = whole + products * users
        asked = [whole, by_kind]
        if self._has_products and self._axes is not None:
            asked.append(products * (users @ self._axes.astype(thetas.dtype, copy=False)))
        queries = np.concatenate(asked, axis=-1).astype(thetas.dtype, copy=False)
        cards = self._cards(candidates, thetas.dtype)
        scores = (queries.reshape(-1, queries.shape[-1]) @ cards).reshape(len(thetas), len(users), -1)
        for theta, pair in zip(thetas.T[-1 - len(self.pairs) : -1], self._named(candidates.pairs), strict=True):
            scores += (theta[:, None, None] * pair).astype(scores.dtype, copy=False)
        return scores

    def _cards(self, candidates: Candidates, dtype: np.dtype) -> Float[np.ndarray, "width cards"]:
        """Returns the cards' part: their vectors, their kinds, and their projected vectors, stacked by rows."""
        kept = self._prepared
        if (
            kept is not None
            and kept[0] is candidates.vectors
            and kept[1] is candidates.kinds
            and kept[2].dtype == dtype
        ):
            return kept[2]
        vectors = self._checked(candidates.vectors)
        parts = [vectors, np.eye(len(KINDS))[candidates.kinds]]
        if self._has_products and self._axes is not None:
            parts.append(vectors @ self._axes)
        cards = np.ascontiguousarray(np.concatenate(parts, axis=1).T.astype(dtype))
        self._prepared = (candidates.vectors, candidates.kinds, cards)
        return cards

    def _checked(self, vectors: Float[np.ndarray, "... width"]) -> Float[np.ndarray, "... dim"]:
        """Returns vectors of the expected dimension; raises `ValueError` for others, unless there are none."""
        if vectors.shape[-1] != self.dim and vectors.size:
            raise ValueError(VALUE_OF_ANOTHER_WIDTH.format(found=vectors.shape[-1], dim=self.dim))
        return vectors if vectors.shape[-1] == self.dim else np.zeros((*vectors.shape[:-1], self.dim))

    def _named(self, pairs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns the pairs that are read, in their order."""
        missing = [name for name in self.pairs if name not in pairs]
        if missing:
            raise ValueError(f"the policy reads the pair {missing[0]!r}, and there is {sorted(pairs) or 'none'}")
        return [pairs[name] for name in self.pairs]

    def _of(
        self,
        users: Float[np.ndarray, "... of_users"],
        vectors: Float[np.ndarray, "... of_cards"],
        kinds: Int[np.ndarray, "..."],
        times_us: Int[np.ndarray, "..."],
        pairs: list[np.ndarray],
    ) -> Float[np.ndarray, "... features"]:
        """Returns features of listeners and cards that are broadcast against one another."""
        users, vectors = self._checked(users), self._checked(vectors)
        shape = np.broadcast_shapes(users.shape[:-1], vectors.shape[:-1])
        one_hot = np.eye(len(KINDS))[kinds]
        parts = []
        if self._has_products:
            axes = self._axes
            parts.append(users * vectors if axes is None else (users @ axes) * (vectors @ axes))
        parts += [(users * vectors).sum(axis=-1, keepdims=True), one_hot]
        if self._has_times:
            times = cycles(times_us)
            crossed = times[..., :, None] * one_hot[..., None, :]
            parts.append(crossed.reshape(*crossed.shape[:-2], len(CYCLES) * len(KINDS)))
        parts += [pair[..., None] for pair in pairs] + [np.ones((1,))]
        return np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)


def cycles(times_us: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... 4"]:
    """Returns time of day and day of the week, UTC, each as sine and cosine."""
    days = times_us / DAY_US
    angles = 2 * np.pi * np.stack([days % 1, (days + EPOCH_WEEKDAY) % WEEK_DAYS / WEEK_DAYS], axis=-1)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*angles.shape[:-1], len(CYCLES))
