"""Thompson sampling with a posterior for each card, shrunk towards what cards have in common.

The logit of a reward is the card's intercept, plus its response to the listener's vector, plus the deviation of the
listener's segment, plus an offset of the slot. Intercept and response are one Gaussian for each card
(`card_posteriors`), with a prior estimated from all cards together: a new card starts as the average card of its kind,
and is tried as widely as cards of its kind differ. A segment's deviation is a number for each card and segment, shrunk
towards 0 as far as deviations are found to be small (`deviations`).

Slots behind the first few are looked at by listeners who go on to stream something there, so what was seen in them was
streamed more often than the card deserves. An offset for each slot corrects for that (`slot_offsets`): where a slot
counts as seen only when it was streamed, it grows until a reward there carries no information.

Listeners who come before the next update share the members, so what is tried in a batch depends on how slates are
drawn: one member for a whole slate tries more cards that belong together than one in each slot (`member_slates`). The
defaults of `breadth`, `members`, `per_slate` and `taste_spread` were chosen on carousel worlds 11 and 12, never on
world 0, whose figures are reported: docs/log.md has the tries.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.special import expit, logit, ndtri

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KINDS
from towers.contract.slate import Slate
from towers.policies.bandit.arrays import taken
from towers.policies.bandit.card_changes import kept_shares
from towers.policies.bandit.card_posteriors import Batch, Evidence, learned, less_known, posterior, prior_covariance
from towers.policies.bandit.choosing import Drawing, chances_by, chosen
from towers.policies.bandit.deviations import Deviations
from towers.policies.bandit.member_slates import MemberDrawing
from towers.policies.bandit.slot_offsets import slot_offsets

PRIOR_STEPS = 3
"""Steps of EM after each update."""
KIND_CARDS = 5.0
"""Number of cards at which a kind's mean is half its own and half that of all cards."""
_CARD, _SEGMENT, _NEW = 0, 1, 2
"""Purposes of random draws, so that no two share their random numbers."""


class HierarchicalThompson:
    """Thompson sampling over cards that share a prior; members are draws of the posterior, anew after each update.

    Args:
        dim: dimension of listeners' vectors, which cards respond to; 0: vectors are not read.
        segments: number of segments of listeners; 0: segments are not read. A listener in none has no deviation.
        reads_cards: whether the prior mean of a card's response is its own vector (of dimension `dim`), each direction
            times a factor that is estimated from all cards together.
        slots: number of slots of a slate.
        members: number of draws of the posterior; more are nearer to a draw for every request.
        floor: probability of taking any card at random.
        per_slate: whether a member decides for a whole slate (`member_slates`) instead of anew in each slot
            (`drawing`); the floor decides in each slot.
        breadth: factor on the standard deviations of the draws; below 1 less is explored. Cards of which less is known
            than of the median one are drawn wider, up to 1.
        prior_reward: probability of a reward before any outcome.
        card_spread: standard deviation of the cards' intercepts, in logits, before it is estimated.
        taste_spread: the same of a card's response to a listener whose vector has typical length.
        segment_spread: the same of a segment's deviation.
        prior_cards: number of cards that these guesses count as.
        cold_quantile: quantile of the prior, among cards of its kind, at which the intercept of a new card is placed.
        always_seen: number of first slots that every listener looks at.
        has_slot_offsets: whether the slots behind them have offsets.
        keep: share of the evidence that is kept at each update.
        change_chance: prior probability that a card changes between two updates (`card_changes`); its evidence is
            forgotten as far as a batch shows that it has. 0: no card changes.
        seed: seed of the draws.
        shelf: name of the shelf in its slates.
        policy_id: name in the log.
    """

    def __init__(
        self,
        *,
        dim: int,
        segments: int = 0,
        reads_cards: bool = False,
        slots: int = 12,
        members: int = 16,
        floor: float = 0.05,
        per_slate: bool = True,
        breadth: float = 0.6,
        prior_reward: float = 0.01,
        card_spread: float = 1.0,
        taste_spread: float = 2.0,
        segment_spread: float = 0.3,
        prior_cards: float = 20.0,
        cold_quantile: float = 0.5,
        always_seen: int = 3,
        has_slot_offsets: bool = True,
        keep: float = 1.0,
        change_chance: float = 1e-3,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "hierarchical-thompson",
    ):
        self.slots, self.policy_id = slots, policy_id
        self._settings: dict[str, Any] = {
            "dim": dim, "segments": segments, "reads_cards": reads_cards, "slots": slots, "members": members,
            "floor": floor, "per_slate": per_slate, "breadth": breadth, "prior_reward": prior_reward,
            "card_spread": card_spread, "taste_spread": taste_spread, "segment_spread": segment_spread,
            "prior_cards": prior_cards,
            "cold_quantile": cold_quantile, "always_seen": always_seen, "has_slot_offsets": has_slot_offsets,
            "keep": keep, "change_chance": change_chance, "seed": seed, "shelf": shelf, "policy_id": policy_id,
        }  # fmt: skip
        self._dim, self._segments, self._reads_cards = dim, segments, reads_cards
        drawing = MemberDrawing if per_slate else Drawing
        self._drawing = drawing(slots=slots, members=members, floor=floor, shelf=shelf)
        self._members, self._breadth, self._seed = members, breadth, seed
        self._always_seen, self._has_slot_offsets, self._keep = always_seen, has_slot_offsets, keep
        self._change_chance = change_chance
        self._cold, self._prior_cards = float(ndtri(cold_quantile)), prior_cards
        self._guess = np.diag([card_spread**2] + [taste_spread**2 / max(dim, 1)] * dim)
        # Learned state; every update makes new arrays.
        self._rows = np.zeros(0, dtype=np.int64)
        self._kinds = np.zeros(0, dtype=np.int64)
        self._width = dim if reads_cards else 0
        self._vectors = np.zeros((0, self._width))
        self._evidence = Evidence.none(0, 1 + dim)
        self._mean = np.array([float(logit(prior_reward))] + [0.0] * dim)
        self._by_kind = np.zeros(len(KINDS))
        self._by_direction = np.zeros(self._width)
        self._covariance = self._guess
        self._deviations = Deviations.none(0, segments, segment_spread**2)
        self._slot_offsets = np.zeros(slots)
        self._length = np.ones(())
        self._updates = np.zeros((), dtype=np.int64)
        self._draw()

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values."""
        return dict(self._settings)

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Draws one slate for each listener.

        Raises:
            ValueError: the vectors have another dimension.
        """
        self._prepare(candidates)
        return chosen(self._drawing, self._scores, context, candidates, generator)

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the probability of each candidate for each slot, given the earlier slots as shown."""
        self._prepare(candidates)
        return chances_by(self._drawing, self._scores, context, candidates, shown)

    def update(self, outcomes: Outcomes) -> None:
        """Learns from the slots that were seen.

        Raises:
            ValueError: the vectors have another dimension.
        """
        seen = outcomes.of(outcomes.is_seen)
        if not len(seen):
            return
        seen = seen.of(np.argsort(seen.content_rows, kind="stable"))
        users = self._of_width(seen.context.user_vectors)
        own = self._own(seen.vectors)
        if not self._updates and self._dim:
            self._length = np.sqrt((users**2).sum(axis=1).mean())
        self._grow(seen.content_rows, seen.kinds, own)
        self._learn(np.searchsorted(self._rows, seen.content_rows), users, seen)
        self._updates = self._updates + 1
        self._draw()

    def expected(self, outcomes: Outcomes) -> Float[np.ndarray, " rows"]:
        """Returns the probability of a reward of each row, given that its slot is seen, by posterior means.

        Raises:
            ValueError: the vectors have another dimension.
        """
        place, is_known = self._places(outcomes.content_rows)
        weights = self._prior_means(outcomes.kinds, self._own(outcomes.vectors))
        weights[:, 0] += self._cold * np.sqrt(self._covariance[0, 0])
        by_segment = np.zeros(len(outcomes))
        if is_known.any():
            known, at = np.unique(place[is_known], return_inverse=True)
            evidence = Evidence(precision=self._evidence.precision[known], shift=self._evidence.shift[known])
            means = self._prior_means(self._kinds[known], self._vectors[known])
            weights[is_known] = posterior(evidence, means, np.linalg.inv(self._covariance))[0][at]
            if self._segments:
                segments = outcomes.context.segments[is_known]
                segments = np.where(segments < self._segments, segments, -1)
                by_segment[is_known] = self._deviations.means(place[is_known], segments)
        offsets = by_segment + self._slot_offsets[np.minimum(outcomes.slots, self.slots - 1)]
        return expit((self._features(self._of_width(outcomes.context.user_vectors)) * weights).sum(axis=1) + offsets)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what it has learned; draws are derived from it."""
        return {
            "content_rows": self._rows, "kinds": self._kinds, "vectors": self._vectors,
            "precision": self._evidence.precision, "shift": self._evidence.shift,
            "prior_mean": self._mean, "prior_covariance": self._covariance,
            "by_kind": self._by_kind, "by_direction": self._by_direction,
            "segment_precision": self._deviations.precision, "segment_shift": self._deviations.shift,
            "segment_variance": np.array(self._deviations.variance), "slot_offsets": self._slot_offsets,
            "length": np.asarray(self._length), "updates": self._updates,
        }  # fmt: skip

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        rows = taken(state, "content_rows", (None,))
        cards, k = len(rows), 1 + self._dim
        told = [
            taken(state, name, shape)
            for name, shape in (
                ("kinds", (cards,)), ("vectors", (cards, self._width)),
                ("precision", (cards, k, k)), ("shift", (cards, k)),
                ("prior_mean", (k,)), ("prior_covariance", (k, k)), ("by_kind", (len(KINDS),)),
                ("by_direction", (self._width,)), ("segment_precision", (cards, self._segments)),
                ("segment_shift", (cards, self._segments)), ("segment_variance", ()),
                ("slot_offsets", (self.slots,)), ("length", ()), ("updates", ()),
            )
        ]  # fmt: skip
        self._rows, self._kinds, self._vectors = rows, told[0], told[1]
        self._evidence = Evidence(precision=told[2], shift=told[3])
        self._mean, self._covariance, self._by_kind, self._by_direction = told[4:8]
        self._deviations = Deviations(precision=told[8], shift=told[9], variance=float(told[10]))
        self._slot_offsets, self._length, self._updates = told[11:]
        self._draw()

    def _of_width(self, vectors: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows dim"]:
        """Returns the vectors, checked to have the policy's dimension; no columns where vectors are not read."""
        if self._dim == 0:
            return np.zeros((len(vectors), 0))
        if vectors.shape[1] != self._dim:
            raise ValueError(f"vectors have {vectors.shape[1]} columns, and the policy was made for {self._dim}")
        return vectors

    def _own(self, vectors: Float[np.ndarray, "cards width"]) -> Float[np.ndarray, "cards own"]:
        """Returns the cards' vectors, as far as they are read."""
        return self._of_width(vectors) if self._reads_cards and len(vectors) else np.zeros((len(vectors), self._width))

    def _features(self, users: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows k"]:
        """Returns a column of ones and the vectors, scaled so that a typical one has length `sqrt(dim)`."""
        return np.column_stack([np.ones(len(users)), users * (np.sqrt(self._dim) / self._length)])

    def _prior_means(
        self, kinds: Int[np.ndarray, " cards"], vectors: Float[np.ndarray, "cards own"]
    ) -> Float[np.ndarray, "cards k"]:
        """Returns the prior means of cards of these kinds with these vectors."""
        means = np.tile(self._mean, (len(kinds), 1))
        means[:, 0] += self._by_kind[kinds]
        if self._reads_cards:
            means[:, 1:] += vectors * self._by_direction
        return means

    def _grow(
        self,
        rows: Int[np.ndarray, " rows"],
        kinds: Int[np.ndarray, " rows"],
        vectors: Float[np.ndarray, "rows own"],
    ) -> None:
        """Adds new cards to the state."""
        found, first = np.unique(rows, return_index=True)
        is_new = ~np.isin(found, self._rows)
        if not is_new.any():
            return
        new = first[is_new]
        together = np.concatenate([self._rows, rows[new]])
        order = np.argsort(together)
        none = Evidence.none(len(new), 1 + self._dim)
        self._rows = together[order]
        self._kinds = np.concatenate([self._kinds, kinds[new]])[order]
        self._vectors = np.concatenate([self._vectors, vectors[new]])[order]
        self._evidence = Evidence(
            precision=np.concatenate([self._evidence.precision, none.precision])[order],
            shift=np.concatenate([self._evidence.shift, none.shift])[order],
        )
        self._deviations = self._deviations.grown(order)

    def _learn(self, cards: Int[np.ndarray, " rows"], users: Float[np.ndarray, "rows dim"], seen: Outcomes) -> None:
        """Fades the evidence and adds that of a batch, whose rows are in the order of cards."""
        features, rewards = self._features(users), seen.rewards
        segments = np.where(seen.context.segments < self._segments, seen.context.segments, -1)
        slots = np.minimum(seen.slots, self.slots - 1)
        kept = np.full(len(self._rows), self._keep)
        evidence, deviations = self._evidence.faded(kept), self._deviations.faded(kept)
        means, precision = self._prior_means(self._kinds, self._vectors), np.linalg.inv(self._covariance)
        by_segment = deviations.means(cards, segments)
        if self._has_slot_offsets:
            thought = posterior(evidence, means, precision)[0]
            logits = (features * thought[cards]).sum(axis=1) + by_segment
            self._slot_offsets = slot_offsets(self._slot_offsets, logits, slots, rewards, self._always_seen)
        offsets = by_segment + self._slot_offsets[slots]
        batch = Batch(cards=cards, features=features, offsets=offsets, rewards=rewards)
        kept = kept_shares(evidence, batch, means, precision, self._change_chance)
        if (kept < 1).any():
            evidence, deviations = evidence.faded(kept), deviations.faded(kept)
            offsets = deviations.means(cards, segments) + self._slot_offsets[slots]
            batch = Batch(cards=cards, features=features, offsets=offsets, rewards=rewards)
        self._evidence = learned(evidence, batch, means, precision)
        if self._segments:
            thought = posterior(self._evidence, means, precision)[0]
            chances = expit((features * thought[cards]).sum(axis=1) + offsets)
            deviations = deviations.learned(cards, segments, chances, rewards)
        self._deviations = deviations
        self._learn_prior()

    def _learn_prior(self) -> None:
        """Estimates the prior from all known cards."""
        for _ in range(PRIOR_STEPS):
            means = self._prior_means(self._kinds, self._vectors)
            found, self._covariance = prior_covariance(
                self._evidence, means, self._covariance, self._guess, self._prior_cards
            )
            by_vector = np.zeros_like(found)
            if self._reads_cards:
                apart = found[:, 1:] - found[:, 1:].mean(axis=0)
                squares = (self._vectors**2).sum(axis=0)
                typical = max(float(squares.mean()) / len(self._rows), 1e-12)  # a card's share of them
                self._by_direction = (apart * self._vectors).sum(axis=0) / (squares + self._prior_cards * typical)
                by_vector[:, 1:] = self._vectors * self._by_direction
            self._mean = (found - by_vector).mean(axis=0)
            sums = np.bincount(self._kinds, found[:, 0] - self._mean[0], len(KINDS))
            self._by_kind = sums / (np.bincount(self._kinds, minlength=len(KINDS)) + KIND_CARDS)

    def _noise(self, purpose: int, number: int, *shape: int) -> Float32[np.ndarray, "..."]:
        """Returns standard normal numbers determined by the state: the same at every call."""
        seeds = [self._seed, int(self._updates), purpose, number]
        return np.random.default_rng(seeds).standard_normal(shape, dtype=np.float32)

    def _draw(self) -> None:
        """Draws every known card's weights for each member."""
        k = 1 + self._dim
        means, precision = posterior(
            self._evidence, self._prior_means(self._kinds, self._vectors), np.linalg.inv(self._covariance)
        )
        root = np.linalg.cholesky(precision)
        # A new card is drawn wider among known ones, so that it is tried as often as it may be the best.
        breadths = self._breadth + (1 - self._breadth) * less_known(root, self._covariance)
        noise = self._noise(_CARD, 0, len(means), k, self._members) * breadths[:, None, None]
        apart = np.linalg.solve(root.transpose(0, 2, 1), noise)
        self._weights = (means[..., None] + apart).astype(np.float32)
        self._prepared_for: Candidates | None = None
        self._card_weights = np.zeros((self._members, k, 0), dtype=np.float32)
        self._of_segment: dict[int, np.ndarray] = {}

    def _prepare(self, candidates: Candidates) -> None:
        """Gathers the draws of the candidates; they are cached while the same cards are asked for."""
        before = self._prepared_for
        if before is not None and all(
            getattr(before, name) is getattr(candidates, name) for name in ("content_rows", "vectors", "kinds")
        ):
            return
        place, is_known = self._places(candidates.content_rows)
        own = self._own(candidates.vectors)
        weights = np.empty((len(candidates), 1 + self._dim, self._members), dtype=np.float32)
        weights[is_known] = self._weights[place[is_known]]
        new = np.flatnonzero(~is_known)
        means = self._prior_means(candidates.kinds[new], own[new])
        means[:, 0] += self._cold * np.sqrt(self._covariance[0, 0])
        root = np.linalg.cholesky(self._covariance)
        for at, mean in zip(new.tolist(), means, strict=True):
            noise = self._noise(_NEW, int(candidates.content_rows[at]), 1 + self._dim, self._members)
            # Where any card is known, a new one is drawn in full width; before that, as wide as known cards will be.
            weights[at] = mean[:, None] + (1.0 if len(self._rows) else self._breadth) * (root @ noise)
        self._prepared_for, self._of_segment = candidates, {}
        self._card_weights = np.ascontiguousarray(weights.transpose(2, 1, 0))

    def _places(self, rows: Int[np.ndarray, " cards"]) -> tuple[Int[np.ndarray, " cards"], Bool[np.ndarray, " cards"]]:
        """Returns the places of cards among the known ones, and whether each is known."""
        place = np.searchsorted(self._rows, rows)
        is_known = np.isin(rows, self._rows)
        return np.where(is_known, place, 0), is_known

    def _scores(self, context: Context, candidates: Candidates) -> Float32[np.ndarray, "members listeners cards"]:
        """Returns the logits of the prepared cards."""
        features = self._features(self._of_width(context.user_vectors)).astype(np.float32)
        scores = np.matmul(features, self._card_weights)
        if self._segments and len(self._rows):
            segments, own = np.unique(context.segments, return_inverse=True)
            for at, segment in enumerate(segments.tolist()):
                if 0 <= segment < self._segments:
                    scores[:, own == at] += self._deviating(segment, candidates)[:, None]
        return scores

    def _deviating(self, segment: int, candidates: Candidates) -> Float32[np.ndarray, "members cards"]:
        """Returns draws of a segment's deviations for the prepared cards."""
        if segment not in self._of_segment:
            place, is_known = self._places(candidates.content_rows)
            noise = self._breadth * self._noise(_SEGMENT, segment, self._members, len(self._rows))
            draws = self._deviations.draws(segment, noise)
            self._of_segment[segment] = np.where(is_known, draws[:, place], 0).astype(np.float32)
        return self._of_segment[segment]
