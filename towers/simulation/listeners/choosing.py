"""What a listener puts on when nobody recommends: something known or something new, and which.

Whether it is known is a logistic regression with a trait of the listener (novelty seeking, with its sign turned).
Which content it is, is a conditional logit over what they know, or over all that they do not (McFadden 1974,
"Conditional logit analysis of qualitative choice behavior"), fitted to the chosen one beside some drawn evenly, which
leaves weights unbiased (McFadden 1978, "Modelling the choice of residential location").
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners import features
from towers.simulation.listeners.logistic import MixedLogistic
from towers.simulation.listeners.space import DAY_US, Space
from towers.simulation.listeners.state import ListenerState

_NEWTON_STEPS: Final = 12
_HALVINGS: Final = 12
_RIDGE: Final = 1.0
_NEW_DAYS: Final = 14.0

OF_KNOWN: Final = (
    "activation", "plays", "skip_share", "was_skipped", "in_session", "slow", "taste", "fast", "popularity", "session_squared",
    "session", "novelty", "previous", "same_artist",
)  # fmt: skip
OF_NEW: Final = (
    "slow", "taste", "slow_squared", "fast", "fast_squared", "session", "session_squared", "region_share", "artist_plays", "popularity_squared",
    "popular_and_near",
    "popularity", "novelty", "previous", "same_artist",
)  # fmt: skip
_BY_CONTEXT: Final = 2
"""The last so many features have a weight of their own in each context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """The fitted choices.

    Args:
        repeat: chance that the next content is a known one; its trait is the listener's.
        known: `[2, features]`, weights of which known one (`OF_KNOWN`, and the last two by context), of the first
            play of a session and of later ones.
        new: `[2, features]`, the same of which new one (`OF_NEW`).
        num_contexts: codes of contexts.
        max_candidates: so many contents at most are weighed when something new is chosen.
    """

    repeat: MixedLogistic
    known: Float[np.ndarray, "2 known_features"]
    new: Float[np.ndarray, "2 new_features"]
    num_contexts: int
    max_candidates: int

    def repeats(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], trait: Float[np.ndarray, " some"]
    ) -> Float[np.ndarray, " some"]:
        """The chance that each listener's next content is a known one."""
        chance = self.repeat.chance(repeat_features(state, rows, self.num_contexts), trait)
        return np.where(state.memory.met[rows] > 0, chance, 0.0)

    def draw_known(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int[np.ndarray, " some"]:
        """A content that each listener knows, of those who know one."""
        place = state.memory.listed(rows)
        utility = _utility(known_features(state, rows, place, self.num_contexts), self.known, state.position[rows])
        picked = _gumbel(utility, place >= 0, rng)
        return state.memory.content[rows, np.take_along_axis(place, picked[:, None], axis=1)[:, 0]].astype(int)

    def draw_new(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int[np.ndarray, " some"]:
        """A content that each listener does not know yet; any where none is left."""
        candidates, log_weight = self.candidates(state.space, rng)
        utility = _utility(new_features(state, rows, candidates, self.num_contexts), self.new, state.position[rows])
        may_come = ~knows(state, rows)[:, candidates]
        may_come &= state.space.released_us[candidates] <= state.now_us[rows, None]
        may_come[~may_come.any(axis=1)] = True
        return candidates[_gumbel(utility + log_weight, may_come, rng)]

    def candidates(
        self, space: Space, rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """What may be chosen: all that can be played, or a sample with weights that undo its leaning to the popular."""
        playable = np.flatnonzero(space.is_playable)
        if len(playable) <= self.max_candidates:
            return playable, np.zeros(len(playable), np.float32)
        keys = 0.5 * space.log_popularity[playable] + rng.gumbel(size=len(playable))
        drawn = playable[np.argpartition(-keys, self.max_candidates)[: self.max_candidates]]
        return drawn, -0.5 * space.log_popularity[drawn]

    def facts(self) -> dict[str, Any]:
        """Its parameters by name, for a file."""
        return {"repeat": self.repeat.facts()} | {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "Choosing":
        """What `facts` made."""
        return cls(repeat=MixedLogistic(**facts["repeat"]), **{name: facts[name] for name in _PLAIN})


_PLAIN: Final = ("known", "new", "num_contexts", "max_candidates")


def repeat_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some features"]:
    """What the chance of a repeat reads: the moment, how much is known, and the context, float32."""
    known = np.log1p(state.memory.met[rows])[:, None]
    contexts = state.context[rows, None] == np.arange(num_contexts - 1)
    return np.concatenate([features.of_moment(state, rows), known, known**2, contexts], axis=1, dtype=np.float32)


def known_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], place: Integer[np.ndarray, "some met"], num_contexts: int
) -> Float[np.ndarray, "some met features"]:
    """Features of contents that listeners know, by their places in the memory, float32; -1 for none."""
    memory, space = state.memory, state.space
    at = rows[:, None], np.maximum(place, 0)
    content = np.maximum(memory.content[at], 0)
    vectors = space.vectors[content]
    plays = memory.plays[at]
    found = {
        "activation": memory.activation(rows, place, state.now_us[rows]),
        "plays": np.log(np.maximum(plays, 1)),
        "skip_share": (memory.skips[at] + 0.35) / (plays + 1.0),
        "was_skipped": memory.was_skipped[at],
        "in_session": memory.session[at] == state.sessions[rows, None],
        "novelty": _novelty(state, rows, space.released_us[content]),
        "popularity": space.log_popularity[content],
    }
    for name, taste in _tastes(state, rows).items():
        found[name] = np.matmul(vectors, taste[:, :, None])[..., 0]
    likeness = np.matmul(vectors, features.unit_tastes(state, rows).swapaxes(1, 2))
    found["taste"] = features.taste_affinity(state, rows, likeness)
    found["session_squared"] = found["session"] ** 2
    found["same_artist"] = _same_artist(state, rows, space.artist[content])
    return _stacked(found, OF_KNOWN, state.context[rows], num_contexts)


def new_features(
    state: ListenerState,
    rows: Integer[np.ndarray, " some"],
    content: Integer[np.ndarray, " candidates"],
    num_contexts: int,
) -> Float[np.ndarray, "some candidates features"]:
    """Features of the same contents for all listeners, float32."""
    space = state.space
    vectors = space.vectors[content]
    found = {name: taste @ vectors.T for name, taste in _tastes(state, rows).items()}
    likeness = np.matmul(vectors, features.unit_tastes(state, rows).swapaxes(1, 2))
    found["taste"] = features.taste_affinity(state, rows, likeness)
    for name in ("slow", "fast", "session"):
        found[f"{name}_squared"] = found[name] ** 2
    counts = state.region_plays[rows]
    share = np.log((counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 0.5 * counts.shape[1]))
    found["region_share"] = share[:, space.region[content]]
    heard = np.zeros((len(rows), int(space.artist.max(initial=0)) + 2), np.float32)
    artist, plays = state.artists.content[rows], state.artists.plays[rows]
    line, slot = np.nonzero(artist >= 0)
    heard[line, artist[line, slot]] = np.log1p(plays[line, slot])
    found["artist_plays"] = heard[:, space.artist[content]]
    found["popularity"] = np.broadcast_to(space.log_popularity[content], found["slow"].shape)
    found["popularity_squared"] = found["popularity"] ** 2
    found["popular_and_near"] = found["popularity"] * found["fast"]
    released = np.broadcast_to(space.released_us[content], found["slow"].shape)
    found["novelty"] = _novelty(state, rows, released)
    found["same_artist"] = _same_artist(state, rows, np.broadcast_to(space.artist[content], found["slow"].shape))
    return _stacked(found, OF_NEW, state.context[rows], num_contexts)


def knows(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, "some contents"]:
    """Whether each listener knows each content."""
    known = np.zeros((len(rows), len(state.space)), bool)
    content = state.memory.content[rows]
    line, slot = np.nonzero(content >= 0)
    known[line, content[line, slot]] = True
    return known


def fit_choice(
    read: Float[np.ndarray, "choices offered features"],
    may_come: Bool[np.ndarray, "choices offered"],
    weights: Float[np.ndarray, " choices"],
) -> Float[np.ndarray, " features"]:
    """Weights of a conditional logit by maximum likelihood, with a ridge that is small beside thousands of choices.

    Args:
        read: features of what was offered; the first one was chosen.
        may_come: false where there was nothing.
        weights: how often each choice counts.
    """
    scale = np.maximum(read[may_come].std(axis=0, dtype=float), 1e-3)
    rows = (read / scale).astype(np.float32)
    found = np.zeros(read.shape[-1])
    chance = _chances(rows, found, may_come)
    likelihood = _likelihood(chance, weights, found)
    for _ in range(_NEWTON_STEPS):
        expected = np.einsum("mk,mkf->mf", chance, rows)
        gradient = weights @ (rows[:, 0] - expected) - _RIDGE * found
        weighed = (rows * np.sqrt(chance * weights[:, None])[..., None].astype(np.float32)).reshape(-1, rows.shape[-1])
        outer = weighed.T @ weighed - (expected * weights[:, None]).T @ expected
        step = np.linalg.solve(outer + _RIDGE * np.eye(len(found)), gradient)
        # A whole step may overshoot where choices are nearly certain: it is halved until it helps.
        for _ in range(_HALVINGS):
            chance = _chances(rows, found + step, may_come)
            if (reached := _likelihood(chance, weights, found + step)) > likelihood:
                break
            step = step / 2.0
        else:
            break
        found, gained, likelihood = found + step, reached - likelihood, reached
        if gained < 1e-3:
            break
    return found / scale


def _likelihood(chance: np.ndarray, weights: np.ndarray, found: np.ndarray) -> float:
    return float(weights @ np.log(chance[:, 0] + 1e-30)) - 0.5 * _RIDGE * float(found @ found)


def _chances(rows: np.ndarray, found: np.ndarray, may_come: np.ndarray) -> Float[np.ndarray, "choices offered"]:
    utility = np.where(may_come, rows @ found.astype(np.float32), -np.inf)
    chance = np.exp(utility - utility.max(axis=1, keepdims=True))
    return chance / chance.sum(axis=1, keepdims=True)


def _tastes(state: ListenerState, rows: Integer[np.ndarray, " some"]) -> dict[str, Float[np.ndarray, "some dim"]]:
    last = features.recent_first(state, rows)[:, 0]
    previous = np.where(((state.position[rows] > 0) & (last >= 0))[:, None], state.space.vectors[last], 0.0)
    return {
        "slow": features.unit(state.slow[rows]),
        "fast": features.unit(state.fast[rows]),
        "session": features.unit(state.session_taste[rows]),
        "previous": previous.astype(np.float32),
    }


def _same_artist(state: ListenerState, rows: np.ndarray, artist: Integer[np.ndarray, "some many"]) -> np.ndarray:
    last = features.recent_first(state, rows)[:, 0]
    is_there = (state.position[rows] > 0) & (last >= 0) & (state.space.artist[last] >= 0)
    return is_there[:, None] & (artist == state.space.artist[last][:, None])


def _novelty(state: ListenerState, rows: np.ndarray, released_us: Integer[np.ndarray, "some many"]) -> np.ndarray:
    age_days = np.maximum(state.now_us[rows, None].astype(float) - released_us, 0.0) / DAY_US
    return np.exp(-age_days / _NEW_DAYS)


def _stacked(
    found: dict[str, np.ndarray], names: tuple[str, ...], context: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some many features"]:
    """The features side by side, the last two once for each context."""
    plain = np.stack([found[name] for name in names[:-_BY_CONTEXT]], axis=-1).astype(np.float32)
    here = (context[:, None] == np.arange(num_contexts)).astype(np.float32)[:, None]
    return np.concatenate([plain, *(found[name][..., None] * here for name in names[-_BY_CONTEXT:])], axis=-1)


def _utility(
    read: Float[np.ndarray, "some many features"],
    weights: Float[np.ndarray, "2 features"],
    position: Integer[np.ndarray, " some"],
) -> Float[np.ndarray, "some many"]:
    return np.matmul(read, weights.astype(np.float32)[(position > 0).astype(int)][..., None])[..., 0]


def _gumbel(utility: np.ndarray, may_come: np.ndarray, rng: np.random.Generator) -> Int[np.ndarray, " some"]:
    """One of each row, by a softmax of its utilities."""
    noisy = utility + rng.gumbel(size=utility.shape)
    return np.where(may_come, noisy, -np.inf).argmax(axis=1)
