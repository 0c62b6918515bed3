"""A generated carousel world, used where the user gives no cards and listeners."""

import numpy as np

from towers.contract.schema import KIND_CODES
from towers.errors import require_counts
from towers.simulation.carousel.segments import segments_of
from towers.simulation.carousel.world import Cards, Carousel, Listeners

KIND_SHARES = {"playlist": 0.6, "episode": 0.2, "artist": 0.2}


def made_carousel(
    *,
    cards: int = 862,
    listeners: int = 50_000,
    dim: int = 40,
    segments: int = 100,
    communities: int = 100,
    own_share: float = 0.04,
    strength: float = 1.5,
    mean_bias: float = -5.7,
    bias_spread: float = 0.8,
    slots: int = 12,
    seed: int = 0,
) -> Carousel:
    """Draws a world.

    Listeners belong to communities: a vector is the sum of the community's and the listener's own part. The larger the
    own part, the less the listener's segment alone tells. The defaults were chosen, before any policy was tuned on
    them, so that the bandits published by Bendada et al. have the same regret relative to random as in the paper.

    Args:
        cards: number of cards.
        listeners: number of listeners.
        dim: number of directions of taste.
        segments: number of groups of listeners that policies know.
        communities: number of communities.
        own_share: share of the variance of a listener's vector that is the listener's own, in [0, 1].
        strength: standard deviation of `weights . vector` over listeners and cards.
        mean_bias: mean of the cards' biases, in logits.
        bias_spread: standard deviation of the cards' biases, in logits.
        slots: number of slots of a slate.
        seed: seed of all random draws; another seed gives another world.

    Raises:
        ValueError: a number is below 1, or a share outside [0, 1].
    """
    require_counts(cards=cards, listeners=listeners, dim=dim, segments=segments, communities=communities, slots=slots)
    if not 0 <= own_share <= 1:
        raise ValueError(f"own_share must be between 0 and 1, got {own_share}")
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(communities, dim))
    own = generator.normal(size=(listeners, dim))
    community = generator.integers(communities, size=listeners)
    vectors = np.sqrt(1 - own_share) * centres[community] + np.sqrt(own_share) * own
    weights = generator.normal(size=(cards, dim)) * strength / np.sqrt(dim)
    single = vectors.astype(np.float32)
    kinds = generator.choice(len(KIND_SHARES), size=cards, p=list(KIND_SHARES.values()))
    return Carousel(
        cards=Cards(
            rows=np.arange(cards),
            ids=tuple(f"card-{row}" for row in range(cards)),
            weights=weights.astype(np.float32),
            biases=generator.normal(mean_bias, bias_spread, size=cards).astype(np.float32),
            kinds=np.array([KIND_CODES[kind] for kind in KIND_SHARES])[kinds],
        ),
        listeners=Listeners(
            ids=tuple(f"listener-{row}" for row in range(listeners)),
            vectors=single,
            segments=segments_of(single, segments, seed),
        ),
        slots=slots,
    )
