"""A home page: shelves one below the other, each drawn by the policy among the cards that no shelf above it shows."""

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
        name: in the log.
        title: for people.
        slots: cards on it, at most.
        kinds: of its cards, some of `schema.KINDS`; none: of all.

    Raises:
        ValueError: no slots, or an unknown kind.
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
            raise ValueError(f"shelf {self.name!r}: no kind {unknown[0]!r}; there are {', '.join(schema.KINDS)}")


class Shelves:
    """The shelves of a page, uppermost first.

    Args:
        shelves: at least one, with different names.

    Raises:
        ValueError: none, or a name that stands twice.
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
        shelf: which it is.
        first_slot: number on the page of its first slot.
        places: `[shown]`, of the cards among `HomeCards`, in their order.
        propensities: `[shown]`, as `Slate` has them.
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

    A shelf shows the first of the slate's cards where it has fewer slots than the policy; their chances are those of
    the whole slate, as each is told given the slots before it.

    Args:
        policy: chooses, with at least as many slots as any shelf.
        cards: of an export.
        context: of one listener.
        candidates: all cards as they stand to the listener, as `HomeCards.of_listener` gives them.
        shelves: uppermost first.
        generator: the only source of chance.

    Returns:
        The shelves in their order; one for which no card is left is empty.
    """
    is_free = np.ones(len(candidates), bool) if candidates.is_allowed is None else candidates.is_allowed[0].copy()
    slot, filled = 0, []
    for shelf in shelves:
        could = is_free & kinds_allowed(candidates.kinds, shelf.kinds)
        # The same cards for all shelves, so that a policy keeps what it has made of them.
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
    """What a log keeps of a page: a row for each card, without its candidates, and these as bits.

    Args:
        filled: the shelves.
        card_ids: of `HomeCards`, in their order.
        request_id: of the page.
        user_id: whose page it is.
        now_us: microseconds since 1970, UTC.
        policy_id: who chose.
        space_id: of the vectors that it chose by.

    Returns:
        The rows, and for each which of the cards the policy chose from, packed (`numpy.packbits`).
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
