"""What a policy would have chosen in the slots of a log, from the same cards.

Each shelf of each request is a separate slate, as a policy draws one shelf independently of the others. The policy is
given what it would have known then: the listener's vector in the export, the time, the listener's earlier events, the
satiation with every card by the log, and exactly the cards that the shelf could have shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from towers.contract.policy import Candidates, Context, Policy
from towers.errors import UserError
from towers.evaluation.off_policy.log import LoggedBandit
from towers.lifecycle.home.slates import JudgedSlates
from towers.policies.bandit.features import Features
from towers.policies.bandit.home_cards import PAIRS, HomeCards
from towers.policies.bandit.reward import Reactions, Reward
from towers.policies.bandit.satiation import Tired
from towers.publishing.sinks.sink import Progress

EARNED: Final = "earned"
"""Feature of a card beside `PAIRS`: its mean reward in rows that are not judged."""
EARNED_ROWS: Final = 20.0
"""Prior weight, in rows, of the average card in each card's mean."""
WIDE: Final = 64
"""Dimension above which vectors enter the direct model only by their inner product."""
AT_ONCE: Final = 8_000_000
"""Most numbers of slates, cards and features that are held at once: 64 MB."""
SKIPS, NEW_CARDS = "skips", "new_cards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Arguments of `OffPolicyJudge.judge`.

    Args:
        log: a row for each of the first slots of each slate.
        features: `[rows, features]`, features of the listener and the card shown; zeros where the export has no such
            card.
        new_features: `[rows, features]`, mean features over the distribution of the policy's choices.
        production: rows of the policy in production; null: none of the rows is its own, or it is unknown.
        left_out: number of left-out rows of these slots, by reason.
    """

    log: LoggedBandit
    features: Float[np.ndarray, "rows features"]
    new_features: Float[np.ndarray, "rows features"]
    production: LoggedBandit | None
    left_out: Mapping[str, int]


def choices_of(
    cards: HomeCards,
    impressions: pa.Table,
    policy: Policy,
    reward: Reward,
    on_progress: Progress,
    *,
    slots: int | None = 3,
    after_us: int | None = None,
    production: str | None = None,
) -> Choices:
    """Computes what a policy would have chosen.

    A card that is not among `cards` any more has propensity 0; a slate that shows one has weight 0 from there on.

    Args:
        cards: cards as the policy numbers them.
        impressions: table of `LOGGED_SCHEMA` or `IMPRESSION_SCHEMA`, in time order, with outcomes.
        policy: policy to judge; not changed.
        reward: values of outcomes.
        on_progress: called with the progress in slates.
        slots: number of slots of a slate that are judged (`OffPolicyJudge.slots`); null: all.
        after_us: only later rows are judged; earlier ones give satiation and the age of cards; null: all.
        production: `Impression.policy_id` of the policy in production; null: unknown.

    Raises:
        UserError: no slate is left, or the policy was made for vectors of another dimension.
    """
    slates = JudgedSlates.of(cards, impressions, min(slots or policy.slots, policy.slots), after_us)
    reactions = Reactions.of(impressions)
    past = _Past(cards, slates, reward.of(reactions), reward.is_stream(reactions))
    model = Features(dim=cards.vectors.shape[1], has_products=cards.vectors.shape[1] <= WIDE, pairs=(*PAIRS, EARNED))
    at_once = max(1, AT_ONCE // (max(1, len(cards.rows)) * len(model)))
    chances, shown, mean = [], [], []
    for start in range(0, len(slates), at_once):
        some = np.arange(start, min(start + at_once, len(slates)))
        context, candidates = past.before(some)
        told = _asked(policy, context, candidates, slates.numbers[some])
        of_all = model.of_all(context, past.with_earned(candidates))
        place = slates.places[some]
        at = np.arange(len(some))[:, None]
        # A card that is no longer among the cards has no propensity and no features.
        chances.append(np.where(place >= 0, told[at, np.arange(place.shape[1]), place], 0.0))
        shown.append(np.where((place >= 0)[..., None], of_all[at, place], 0.0))
        mean.append(np.matmul(told, of_all))
        on_progress("judge", int(some[-1]) + 1, len(slates))
    slate, slot = np.nonzero(slates.rows >= 0)
    row = slates.rows[slate, slot]
    shelf = np.eye(slates.num_shelves)[slates.shelf[slate]]
    log = LoggedBandit(
        requests=slate,
        listeners=slates.user[slate],
        slots=slot,
        propensities=impressions["propensity"].fill_null(1.0).to_numpy()[row],
        new_propensities=np.minimum(np.concatenate(chances)[slate, slot], 1.0),
        rewards=reward.of(reactions)[row],
        guards={SKIPS: reactions.skipped[row].astype(float), NEW_CARDS: slates.is_new[row].astype(float)},
        kinds=slates.kinds[row],
    )
    is_own = impressions["policy_id"].to_numpy()[row] == production
    return Choices(
        log=log,
        features=np.column_stack([np.concatenate(shown)[slate, slot], shelf]),
        new_features=np.column_stack([np.concatenate(mean)[slate, slot], shelf]),
        production=log.of(is_own) if is_own.any() and not is_own.all() else None,
        left_out=slates.left_out,
    )


def _asked(
    policy: Policy, context: Context, candidates: Candidates, shown: Int[np.ndarray, "slates slots"]
) -> Float[np.ndarray, "slates slots cards"]:
    """Returns a policy's propensities.

    Raises:
        UserError: it was made for other vectors, or reads unknown features.
    """
    try:
        return policy.chances(context, candidates, shown)
    except ValueError as error:
        raise UserError(f"policy {policy.policy_id}: cannot choose among these cards ({error})") from None


class _Past:
    """State of listeners before each slate, as a policy would have known it; slates must be asked for in order of time.

    Args:
        cards: cards that policies choose from.
        slates: slates that are judged.
        rewards: `[rows]`, rewards of the whole log.
        is_stream: `[rows]`, whether each row's card was streamed.
    """

    def __init__(
        self,
        cards: HomeCards,
        slates: JudgedSlates,
        rewards: Float[np.ndarray, " rows"],
        is_stream: Bool[np.ndarray, " rows"],
    ):
        self._cards, self._slates = cards, slates
        self._tired, self._next = Tired(), 0
        columns = (slates.user_of_row, slates.place_of_row, slates.times_us, is_stream)
        self._rows = list(zip(*(column.tolist() for column in columns), strict=True))
        self._known: tuple[tuple[int, int], np.ndarray] | None = None
        is_earlier = slates.is_earlier & (slates.place_of_row >= 0)
        place, earned = slates.place_of_row[is_earlier], rewards[is_earlier]
        usual = float(earned.mean()) if len(earned) else 0.0
        sums = np.bincount(place, earned, minlength=len(cards.rows)) + EARNED_ROWS * usual
        self._earned = sums / (np.bincount(place, minlength=len(cards.rows)) + EARNED_ROWS)

    def before(self, some: Int[np.ndarray, " some"]) -> tuple[Context, Candidates]:
        """Returns the listeners of some slates, and all cards in their state for them; later slates must be asked for
        later."""
        slates, cards = self._slates, self._cards
        pairs = np.stack([self._pairs(int(slates.user[one]), int(slates.when_us[one])) for one in some])
        context = Context(
            user_vectors=np.asarray(cards.export.user_vectors[slates.user[some]]),
            segments=np.full(len(some), -1),
            times_us=slates.when_us[some],
        )
        return context, Candidates(
            content_rows=cards.numbers,
            vectors=cards.vectors,
            kinds=cards.kinds,
            is_allowed=slates.could(some),
            pairs={name: pairs[:, place] for place, name in enumerate(PAIRS)},
        )

    def with_earned(self, candidates: Candidates) -> Candidates:
        """Adds to the candidates the mean reward that each card earned earlier, which only the direct model reads."""
        listeners = len(candidates.pairs[PAIRS[0]])
        earned = np.broadcast_to(self._earned, (listeners, len(candidates)))
        return Candidates(
            content_rows=candidates.content_rows,
            vectors=candidates.vectors,
            kinds=candidates.kinds,
            pairs={**candidates.pairs, EARNED: earned},
        )

    def _pairs(self, user: int, now_us: int) -> Float[np.ndarray, "pairs cards"]:
        """Returns `PAIRS` of a listener and all cards; shelves of one page share them."""
        while self._next < len(self._rows) and self._rows[self._next][2] < now_us:
            one, place, time_us, was_heard = self._rows[self._next]
            if place >= 0:
                self._tired.shown(one, place, time_us, was_heard)
            self._next += 1
        if self._known is None or self._known[0] != (user, now_us):
            familiarity, recency = self._cards.familiar_at(user, now_us)
            satiation = self._tired.of_all(user, len(self._cards.rows), now_us)
            self._known = (user, now_us), np.stack([familiarity, recency, satiation])
        return self._known[1]
