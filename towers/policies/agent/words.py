"""Reasons for an agent's picks, in words: what raised a score above that of the other candidates.

The score is linear, so what each feature adds is exact: nothing is approximated afterwards.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.policies.agent.features import FEATURES, Seen, context_of
from towers.policies.agent.policy import AgentPolicy

PHRASES: Final[dict[str, tuple[str | None, str | None]]] = {
    "chance": ("you are likely to hear it out", None),
    "long_term": ("others came back to it for long", None),
    "relevance": ("near what you played lately", "unlike what you played lately"),
    "nearest_recent": ("close to something you played lately", "unlike all that you played lately"),
    "last_relevance": ("near what you just played", "a change from what you just played"),
    "satiation": ("more of what you are playing", "from a corner that you have not had too much of"),
    "familiarity": ("you play it often", None),
    "is_known": ("you know it", "you have not played it yet"),
    "artist_familiarity": ("by an artist you play", "by an artist you hardly play"),
    "new_artist": ("a new artist for you", None),
    "tried_artist": ("by an artist you tried a while ago", None),
    "region_share": ("from where you listen most", "from where you rarely listen"),
    "popularity": ("played by many", "played by few"),
    "newness": ("just released", "not one of the latest"),
    "recent": ("you played it lately", "not among what you played lately"),
}
"""Phrases by feature: for a candidate that has more of it than the others, and for one that has less; null: no
phrase."""
TOGETHER: Final = (
    ("relevance", "nearest_recent", "last_relevance"), ("familiarity", "is_known", "recent"),
    ("artist_familiarity", "new_artist", "tried_artist"),
)  # fmt: skip
"""Features that say the same: their shares are added, and the one that raises the score most gives the phrase."""
BLAND: Final = ("chance",)
"""Features whose phrase is used only where there is no other."""
MOST: Final = 3
"""Largest number of clauses in a reason."""
LEAST_SHARE: Final = 0.1
"""Least share, of all that raises the score, that a clause must have to be used."""
ARTIST, REGION = "artist_again", "region_again"
"""Names of the penalties for contents that are in the slate already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a candidate was picked.

    Args:
        words: reason in words, for the listener.
        shares: by feature, how much it raises (or lowers) the score above that of the mean candidate; their sum is how
            far the candidate's score is above the mean candidate's, before penalties.
    """

    words: str
    shares: dict[str, float]


def reason_of(
    features: Float[np.ndarray, " features"],
    mean: Float[np.ndarray, " features"],
    weights: Float[np.ndarray, " features"],
) -> Reason:
    """Returns the reason for a pick.

    Args:
        features: features of the pick, in the order of `FEATURES`.
        mean: mean features of the listener's candidates.
        weights: weights of the features for this listener.
    """
    above = features - mean
    shares: dict[str, float] = dict(zip(FEATURES, (weights * above).tolist(), strict=True))
    alone = [(name,) for name in FEATURES if not any(name in group for group in TOGETHER)]
    told: dict[str, float] = {}
    for group in (*TOGETHER, *alone):
        told[max(group, key=lambda name: shares[name])] = sum(shares[name] for name in group)
    raised = sum(share for share in told.values() if share > 0)
    clauses: dict[str, str] = {}
    for name in sorted(told, key=lambda one: -told[one]):
        phrase = PHRASES[name][0 if above[FEATURES.index(name)] > 0 else 1]
        if phrase is not None and told[name] > LEAST_SHARE * raised > 0:
            clauses[name] = phrase
    spoken = [phrase for name, phrase in clauses.items() if name not in BLAND] or [*clauses.values()]
    return Reason(words=", ".join(spoken[:MOST]) or "as good as any of the others", shares=shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A slot of a slate, with the reason for its content.

    Args:
        content_row: row of the content in the slot.
        reason: why it was picked.
        score: score of the pick less that of the mean candidate, penalties included.
        propensity: probability that `draw` would choose it for this slot, given the earlier slots.
    """

    content_row: int
    reason: Reason
    score: float
    propensity: float


def picks_of(policy: AgentPolicy, seen: Seen) -> list[list[Pick]]:
    """Returns the best slate of each listener, with reasons.

    Args:
        policy: policy that chooses.
        seen: what is known of the listeners.
    """
    features, context = policy.features(seen), context_of(seen)
    weights = context.astype(float) @ policy.weights
    slots = policy.slot_by_slot(policy.scores(features, seen), seen)
    found: list[list[Pick]] = []
    for row, candidates in enumerate(seen["candidates"]):
        mean = features[row, candidates >= 0].mean(axis=0, dtype=np.float64)
        picks = []
        for slot in slots:
            place = int(slot.place[row])
            reason = reason_of(features[row, place].astype(float), mean, weights[row])
            lost = {
                ARTIST: -policy.penalties.artist * float(slot.same_artist[row, place]),
                REGION: -policy.penalties.region * float(slot.same_region[row, place]),
            }
            shares = reason.shares | {name: share for name, share in lost.items() if share}
            picks.append(
                Pick(
                    content_row=int(candidates[place]), reason=Reason(words=reason.words, shares=shares),
                    score=sum(shares.values()), propensity=float(slot.chances()[row, place]),
                )
            )  # fmt: skip
        found.append(picks)
    return found
