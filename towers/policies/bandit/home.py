"""A home page: shelves one below the other, each drawn by the policy from the cards that no earlier shelf shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract import schema
from towers.contract.impressions import Impression
from towers.contract.policy import Candidates, Context, Policy
from towers.contract.slate import NOTHING
from towers.policies.bandit.home_cards import HomeCards, kinds_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A row of the page.

    Args:
        name: name in the log.
        title: title for listeners.
        slots: largest number of cards on it.
        kinds: kinds of its cards, out of `schema.KINDS`; empty: all kinds.

    Raises:
        ValueError: `slots` is below 1, or a kind is unknown.
    """

    name: str
    title: str
    slots: int
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"shelf {self.name!r}: slots={self.slots}: must be at least 1")
        unknown = [kind for kind in self.kinds if kind not in schema.KINDS]
        if unknown:
            raise ValueError(f"shelf {self.name!r}: unknown kind {unknown[0]!r}; kinds are {', '.join(schema.KINDS)}")


class Shelves:
    """The shelves of a page, uppermost first.

    Args:
        shelves: at least one, with distinct names.

    Raises:
        ValueError: there are no shelves, or two have the same name.
    """

    def __init__(self, shelves: Sequence[Shelf]):
        names = [shelf.name for shelf in shelves]
        if not names or len({*names}) < len(names):
            raise ValueError(f"shelves={names}: give at least one, each with a name of its own")
        self.shelves = tuple(shelves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A shelf as it is shown to one listener.

    Args:
        shelf: the shelf.
        first_slot: number on the page of its first slot.
        places: `[shown]`, places of the shown cards among `HomeCards`, in their order.
        propensities: `[shown]`, as in `Slate`.
        could: `[cards]`, which cards the policy chose from.
    """

    shelf: Shelf
    first_slot: int
    places: Int[np.ndarray, " shown"]
    propensities: Float[np.ndarray, " shown"]
    could: Bool[np.ndarray, " cards"]


def draw_page(
    policy: Policy,
    cards: HomeCards,
    context: Context,
    candidates: Candidates,
    shelves: Sequence[Shelf],
    generator: np.random.Generator,
) -> list[Filled]:
    """Draws a page for one listener.

    A shelf with fewer slots than the policy shows the first cards of its slate; their probabilities stay those of the
    whole slate, as each is conditional on the earlier slots only.

    Args:
        policy: policy that chooses, with at least as many slots as any shelf.
        cards: cards of an export.
        context: context of one listener.
        candidates: all cards with their features for the listener, as returned by `HomeCards.of_listener`.
        shelves: the shelves, uppermost first.
        generator: the only source of randomness.

    Returns:
        The shelves in their order; a shelf for which no card is left is empty.
    """
    is_free = np.ones(len(candidates), bool) if candidates.is_allowed is None else candidates.is_allowed[0].copy()
    slot, filled = 0, []
    for shelf in shelves:
        could = is_free & kinds_allowed(candidates.kinds, shelf.kinds)
        # The same cards for all shelves, so that a policy's cache of them stays valid.
        slate = policy.select(context, replace(candidates, is_allowed=could[None]), generator)
        is_shown = slate.content_rows[0, : shelf.slots] != NOTHING
        numbers = slate.content_rows[0, : shelf.slots][is_shown]
        places = cards.place_of_number[numbers]
        propensities = slate.propensities[0, : shelf.slots][is_shown]
        filled.append(Filled(shelf=shelf, first_slot=slot, places=places, propensities=propensities, could=could))
        is_free[places] = False
        slot += len(places)
    return filled


def impressions_of(
    filled: Sequence[Filled],
    card_ids: Sequence[str],
    *,
    request_id: str,
    user_id: str,
    now_us: int,
    policy_id: str,
    space_id: str,
) -> tuple[list[Impression], list[bytes]]:
    """Returns the log rows of a page, one for each card, and the candidates of each row as packed bits.

    Args:
        filled: the shelves.
        card_ids: ids of `HomeCards`, in their order.
        request_id: id of the page.
        user_id: id of the listener.
        now_us: microseconds since 1970, UTC.
        policy_id: policy that chose.
        space_id: id of the space of the vectors that it chose by.

    Returns:
        The rows, and for each row which of the cards the policy chose from, packed (`numpy.packbits`).
    """
    rows, could = [], []
    for shelf in filled:
        bits = np.packbits(shelf.could).tobytes()
        for at, (place, chance) in enumerate(zip(shelf.places.tolist(), shelf.propensities.tolist(), strict=True)):
            rows.append(
                Impression(
                    request_id=request_id,
                    user_id=user_id,
                    timestamp_us=now_us,
                    chosen_id=card_ids[int(place)],
                    slot=shelf.first_slot + at,
                    shelf=shelf.shelf.name,
                    propensity=chance,
                    policy_id=policy_id,
                    space_id=space_id,
                )
            )
            could.append(bits)
    return rows, could
