"""The carousel world that is made where nobody brings cards and listeners of their own."""

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

    Its listeners belong to communities: a vector is the community's and what is the listener's own. The larger the own
    part, the less is known by whoever knows a listener's segment alone. The defaults were chosen, before any policy was
    tuned on them, so that the bandits published by Bendada et al. lose relative to random what they do there.

    Args:
        cards: how many can be shown.
        listeners: how many there are.
        dim: directions of taste.
        segments: groups that policies are told of.
        communities: how many there are.
        own_share: of the variance of a listener's vector, what is his own; in [0, 1].
        strength: standard deviation of `weights . vector`, between listeners and cards.
        mean_bias: of the cards' biases, in logits.
        bias_spread: standard deviation of the cards' biases, in logits.
        slots: of a slate.
        seed: of everything: another seed is another world.

    Raises:
        ValueError: a number below 1, or a share outside [0, 1].
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
