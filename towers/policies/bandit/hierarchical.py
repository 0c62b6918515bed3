"""Thompson sampling with a posterior for each card, drawn towards what cards have in common.

The logit of a reward is the card's intercept, plus its response to the listener's vector, plus what the listener's
segment thinks of the card beyond that, plus what the slot adds. Intercepts and responses are one Gaussian for each
card (`card_posteriors`) with a prior that all cards estimate together: a card that has only just come is thought to be
as cards of its kind of vector are, with their whole spread, and earns its place by it. A segment's deviation is a number
for each card and segment, drawn towards 0 as far as deviations are found to be small.

Slots behind the first few are looked at by listeners who go on to stream something, so rewards in slots that were seen
are richer there than the card deserves. An offset for each slot takes that up; where a slot counts as seen only when it
was streamed, the offset grows until such a reward says nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, logit, ndtri

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.policies.bandit.card_posteriors import Batch, Evidence, learned, posterior, prior_covariance
from towers.policies.bandit.choosing import chosen

PRIOR_STEPS = 3
"""Of EM after each update."""
SLOT_SPREAD = 3.0
"""Standard deviation of a slot's offset beforehand."""


class HierarchicalThompson:
    def __init__(self, *, slots=12, dim=0, segments=0, members=16, floor=0.05, keep=1.0, prior_reward=0.01,
                 prior_cards=20.0, card_spread=1.0, taste_spread=1.0, segment_spread=0.3, cold_quantile=0.5,
                 breadth=1.0, seen_slots=3, slot_effects=True, seed=0, shelf="home", policy_id="hierarchical-thompson"):
        self.slots, self.policy_id = slots, policy_id
        self._members, self._floor, self._keep, self._shelf, self._seed = members, floor, keep, shelf, seed
        self._dim, self._segments, self._prior_cards = dim, segments, prior_cards
        self._cold, self._breadth, self._seen_slots = float(ndtri(cold_quantile)), breadth, seen_slots
        self._slot_effects = slot_effects
        self._k = k = 1 + dim
        self._guess = np.diag([card_spread**2] + [taste_spread**2 / max(dim, 1) * 1.0] * dim)
        self._rows = np.zeros(0, np.int64)
        self._evidence = Evidence.none(0, k)
        self._mean = np.zeros(k); self._mean[0] = logit(prior_reward)
        self._covariance = self._guess.copy()
        self._seg_precision = np.zeros((0, segments)); self._seg_shift = np.zeros((0, segments))
        self._seg_variance = segment_spread**2
        self._slot_offset = np.zeros(slots); self._slot_info = np.zeros(slots); self._slot_eta = np.zeros(slots)
        self._scale = 1.0
        self._updates = 0
        self._forget()

    def note(self):
        s = np.diag(self._covariance)
        return f"mean {self._mean[0]:.2f} sd {s[0]**.5:.2f} taste {s[1:].sum()**.5:.2f} seg {self._seg_variance**.5:.2f} slots {np.round(self._slot_offset[[0,3,7,11]],1)}"

    def _forget(self):
        self._drawn = None; self._prepared = (None, None); self._by_segment = {}

    def _features(self, vectors):
        x = np.ones((len(vectors), self._k))
        if self._dim:
            x[:, 1:] = vectors * (np.sqrt(self._dim) / self._scale)
        return x

    def _weights(self, candidates):
        if self._drawn is None:
            means, precision = posterior(self._evidence, np.broadcast_to(self._mean, (len(self._rows), self._k)), np.linalg.inv(self._covariance))
            z = np.random.default_rng([self._seed, self._updates]).standard_normal((len(self._rows), self._k, self._members))
            roots = np.linalg.cholesky(precision) if len(precision) else precision
            noise = np.linalg.solve(np.swapaxes(roots, 1, 2), z) if len(precision) else z
            self._drawn = (means[..., None] + self._breadth * noise).astype(np.float32)  # cards k members
            self._root = np.linalg.cholesky(self._covariance)
        if self._prepared[0] is not candidates.content_rows:
            at = np.searchsorted(self._rows, candidates.content_rows)
            known = (at < len(self._rows))
            known[known] = self._rows[at[known]] == candidates.content_rows[known]
            w = np.empty((len(candidates), self._k, self._members), np.float32)
            w[known] = self._drawn[at[known]]
            cold = self._mean.copy(); cold[0] += self._cold * np.sqrt(self._covariance[0, 0])
            for place in np.flatnonzero(~known):
                z = np.random.default_rng([self._seed, self._updates, int(candidates.content_rows[place])]).standard_normal((self._k, self._members))
                w[place] = cold[:, None] + self._breadth * (self._root @ z)
            self._prepared = (candidates.content_rows, np.ascontiguousarray(w.transpose(2, 1, 0)), at, known)
            self._by_segment = {}
        return self._prepared

    def _segment(self, s, cards, at, known):
        if s not in self._by_segment:
            precision = self._seg_precision[:, s] + 1 / self._seg_variance
            z = np.random.default_rng([self._seed, self._updates, 0, s]).standard_normal((self._members, len(self._rows)), np.float32)
            d = self._seg_shift[:, s] / precision + self._breadth * z / np.sqrt(precision)
            out = np.zeros((self._members, cards), np.float32)
            out[:, known] = d[:, at[known]]
            self._by_segment[s] = out
        return self._by_segment[s]

    def _scores(self, context, candidates):
        _, w, at, known = self._weights(candidates)
        x = self._features(context.user_vectors).astype(np.float32)
        scores = np.matmul(x, w)
        if self._segments:
            found, inverse = np.unique(context.segments, return_inverse=True)
            for i, s in enumerate(found.tolist()):
                if s >= 0:
                    who = np.flatnonzero(inverse == i)
                    scores[:, who] += self._segment(s, len(candidates), at, known)[:, None]
        return scores

    def select(self, context, candidates, generator):
        return chosen(self._scores, context, candidates, generator, members=self._members, slots=self.slots, floor=self._floor, shelf=self._shelf)

    def update(self, outcomes):
        o = outcomes.of(outcomes.is_seen)
        if not len(o): return
        if self._updates == 0 and self._dim:
            self._scale = float(np.sqrt((o.context.user_vectors**2).sum(1).mean()))
        new = np.setdiff1d(o.content_rows, self._rows)
        if len(new):
            rows = np.concatenate([self._rows, new]); order = np.argsort(rows)
            none = Evidence.none(len(new), self._k)
            self._evidence = Evidence(precision=np.concatenate([self._evidence.precision, none.precision])[order], shift=np.concatenate([self._evidence.shift, none.shift])[order])
            empty = np.zeros((len(new), self._segments))
            self._seg_precision = np.concatenate([self._seg_precision, empty])[order]; self._seg_shift = np.concatenate([self._seg_shift, empty])[order]
            self._rows = rows[order]
        card = np.searchsorted(self._rows, o.content_rows)
        order = np.argsort(card, kind="stable"); o = o.of(order); card = card[order]
        x = self._features(o.context.user_vectors); y = o.rewards; seg = o.context.segments
        self._evidence = self._evidence.faded(self._keep); self._seg_precision *= self._keep; self._seg_shift *= self._keep
        n = len(self._rows); prior_means = np.broadcast_to(self._mean, (n, self._k)); prior_precision = np.linalg.inv(self._covariance)
        has = (seg >= 0) if self._segments else np.zeros(len(y), bool)
        dev = np.zeros(len(y))
        if self._segments:
            dev[has] = (self._seg_shift / (self._seg_precision + 1 / self._seg_variance))[card[has], seg[has]]
        if self._slot_effects:
            m, _ = posterior(self._evidence, prior_means, prior_precision)
            base = (x * m[card]).sum(1) + dev
            self._learn_slots(base, o.slots, y)
        off = dev + self._slot_offset[np.minimum(o.slots, self.slots - 1)]
        self._evidence = learned(self._evidence, Batch(cards=card, features=x, offsets=off, rewards=y), prior_means, prior_precision)
        m, _ = posterior(self._evidence, prior_means, prior_precision)
        if self._segments:
            p = expit((x * m[card]).sum(1) + off); info = p * (1 - p)
            key = card[has] * self._segments + seg[has]; size = n * self._segments
            self._seg_precision = self._seg_precision + np.bincount(key, info[has], size).reshape(n, -1)
            self._seg_shift = self._seg_shift + np.bincount(key, (y - p + info * dev)[has], size).reshape(n, -1)
            seen = self._seg_precision > 0
            pr = self._seg_precision[seen] + 1 / self._seg_variance
            self._seg_variance = float(max(1e-4, (1 / pr + (self._seg_shift[seen] / pr) ** 2).mean()))
        for _ in range(PRIOR_STEPS):
            m, cov = prior_covariance(self._evidence, np.broadcast_to(self._mean, (n, self._k)), self._covariance, self._guess, self._prior_cards)
            self._mean = m.mean(0); self._covariance = cov
        self._updates += 1
        self._forget()

    def _learn_slots(self, base, slots, y):
        slots = np.minimum(slots, self.slots - 1)
        first = slots < self._seen_slots
        g = 0.0
        for _ in range(15):  # what the batch as a whole is off by, where everybody looks
            p = expit(base[first] + g)
            g += np.clip((y[first] - p).sum() / max((p * (1 - p)).sum(), 1e-9), -1, 1)
        for s in range(self._seen_slots, self.slots):
            b, r = base[slots == s] + g, y[slots == s]
            if not len(r): continue
            off = 0.0
            for _ in range(20):
                p = expit(b + off)
                off += np.clip(((r - p).sum() - off / SLOT_SPREAD**2) / ((p * (1 - p)).sum() + 1 / SLOT_SPREAD**2), -1, 1)
            self._slot_offset[s] = off
