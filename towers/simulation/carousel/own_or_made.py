"""The carousel world that a configuration names: read from the user's files, or generated."""

from pathlib import Path

from towers.errors import UserError
from towers.simulation.carousel.files import carousel_of_files
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.world import Carousel


def own_or_made_carousel(
    *,
    cards: str | None,
    listeners: str | None,
    segments: int,
    slots: int,
    num_cards: int,
    num_listeners: int,
    dim: int,
    communities: int,
    own_share: float,
    strength: float,
    mean_bias: float,
    bias_spread: float,
    seed: int,
) -> Carousel:
    """Reads the world from files, or generates it where none are given.

    Args:
        cards: file of weights and biases, see `carousel_of_files`; null: generated.
        listeners: file of vectors; null: generated. Either both files are given or neither.
        segments: number of groups of listeners; unused where the listeners' file has segments.
        slots: number of slots of a slate.
        num_cards: number of generated cards, see `made_carousel`, as for all below.
        num_listeners: number of generated listeners.
        dim: see `made_carousel`.
        communities: see `made_carousel`.
        own_share: see `made_carousel`.
        strength: see `made_carousel`.
        mean_bias: see `made_carousel`.
        bias_spread: see `made_carousel`.
        seed: seed of all random draws; with files, of the segments.

    Raises:
        UserError: one file is given without the other, or a file is not such a table.
        ValueError: a number is out of range.
    """
    if cards is not None and listeners is not None:
        return carousel_of_files(Path(cards), Path(listeners), segments=segments, slots=slots, seed=seed)
    if cards is not None or listeners is not None:
        missing = "world.listeners" if listeners is None else "world.cards"
        raise UserError(f"{missing}: missing; cards and listeners need the same directions, so give both files or none")
    return made_carousel(
        cards=num_cards, listeners=num_listeners, dim=dim, segments=segments, communities=communities,
        own_share=own_share, strength=strength, mean_bias=mean_bias, bias_spread=bias_spread, slots=slots, seed=seed,
    )  # fmt: skip
