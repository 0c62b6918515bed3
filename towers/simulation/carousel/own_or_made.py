"""The carousel world that a configuration names: anybody's own files, or one that is made."""

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
    """Opens the files, or makes a world where none are given.

    Args:
        cards: file of weights and biases, see `carousel_of_files`; null: they are made.
        listeners: file of vectors; null: they are made. Both files are given, or none.
        segments: groups of listeners; of files, where they tell none.
        slots: of a slate.
        num_cards: that are made; this and all that follow are those of `made_carousel`, but for `seed`, which is that
            of the segments of files as well.
        num_listeners: likewise.
        dim: likewise.
        communities: likewise.
        own_share: likewise.
        strength: likewise.
        mean_bias: likewise.
        bias_spread: likewise.
        seed: of what is drawn.

    Raises:
        UserError: one file without the other, or a file that is not such a table.
        ValueError: a number out of bounds.
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
