"""The carousel world of an export: its listeners and cards, with vectors known to policies, and drawn true weights.

What a listener thinks of a card is partly given by the two vectors and partly drawn: a response of the card to the same
listener's vector. The smaller the drawn part, the more a policy gains from the vectors.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.simulation.carousel.segments import segments_of
from towers.simulation.carousel.world import Cards, Carousel, Listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Listeners and cards of an export.

    Args:
        user_ids: ids of the listeners.
        user_vectors: `[listeners, dim]`.
        card_ids: ids of the cards.
        card_vectors: `[cards, dim]`.
        kinds: `[cards]`, index into `schema.KINDS`.
    """

    user_ids: tuple[str, ...]
    user_vectors: Float[np.ndarray, "listeners dim"]
    card_ids: tuple[str, ...]
    card_vectors: Float[np.ndarray, "cards dim"]
    kinds: Int[np.ndarray, " cards"]


def catalogue_carousel(
    *,
    space: Space,
    segments: int,
    slots: int,
    own_share: float,
    strength: float,
    mean_bias: float,
    bias_spread: float,
    seed: int,
) -> Carousel:
    """Draws the preferences of an export's listeners.

    Args:
        space: listeners and cards of the export.
        segments: number of groups of listeners, made by k-means.
        slots: number of slots of a slate.
        own_share: share of the variance of preferences that the vectors do not explain, in [0, 1].
        strength: standard deviation of preferences over listeners and cards, in logits.
        mean_bias: mean bias of the cards, in logits.
        bias_spread: standard deviation of the cards' biases, in logits.
        seed: seed of all random draws.

    Raises:
        ValueError: `own_share` is outside [0, 1].
    """
    if not 0 <= own_share <= 1:
        raise ValueError(f"own_share must be between 0 and 1, got {own_share}")
    generator = np.random.default_rng(seed)
    users = np.asarray(space.user_vectors, dtype=np.float32)
    vectors = np.asarray(space.card_vectors, dtype=np.float32)
    mean = users.mean(axis=0)
    moments = np.cov(users, rowvar=False, bias=True) if len(users) > 1 else np.zeros((users.shape[1],) * 2)
    told = _scaled(vectors, moments)
    # The drawn part uses the vectors of other cards, so that both parts have the same directions.
    drawn = _scaled(vectors[generator.permutation(len(vectors))], moments)
    weights = strength * (np.sqrt(1 - own_share) * told + np.sqrt(own_share) * drawn)
    biases = generator.normal(mean_bias, bias_spread, size=len(vectors)) - weights @ mean
    return Carousel(
        cards=Cards(
            rows=np.arange(len(vectors)),
            ids=space.card_ids,
            weights=weights.astype(np.float32),
            biases=biases.astype(np.float32),
            kinds=space.kinds,
            vectors=vectors,
        ),
        listeners=Listeners(ids=space.user_ids, vectors=users, segments=segments_of(users, segments, seed)),
        slots=slots,
    )


def _scaled(
    vectors: Float[np.ndarray, "cards dim"], moments: Float[np.ndarray, "dim dim"]
) -> Float[np.ndarray, "cards dim"]:
    """Scales vectors so that inner products with listeners have a variance of 1, averaged over cards."""
    variance = float(np.einsum("ck,kl,cl->c", vectors, np.atleast_2d(moments), vectors).mean())
    return vectors / np.sqrt(variance) if variance > 0 else vectors
