"""An agent's policy over an export, for a server or a job: candidates, slates with probabilities, scores. It needs
neither torch nor the simulator.

    agent = ServedAgent.open(Path("policies/agent/current"), export)
    drawn = agent.draw(Listener.of(export, user="u1"), np.random.default_rng())
"""

from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.policies.agent.features import Seen
from towers.policies.agent.heard import DatedContents, Heard, seen_of_plays, taste_of
from towers.policies.agent.policy import Drawn
from towers.policies.agent.policy_file import AgentFile, read_agent
from towers.policies.listener import Listener
from towers.retrieval.export import Export

_SHARES: Final = (0.5, 0.75)
"""Shares of a listener's candidates at which the nearest contents end, and then the popular ones; the rest are new."""
_NEW_DAYS: Final = 14
CANDIDATES: Final = 200


class ServedAgent:
    """An agent's policy, restricted to the contents of an export that it knows.

    Args:
        file: the policy with its contents.
        export: an export of the same space.

    Raises:
        UserError: the export is of another space, or shares fewer contents with the policy than a slate has.
    """

    def __init__(self, file: AgentFile, export: Export):
        if export.space_id != file.space_id:
            raise UserError(
                f"export={export.folder}: is of space {export.space_id}, but the agent is of {file.space_id}; train "
                "one in this space"
            )
        contents = file.policy.contents
        assert isinstance(contents, DatedContents)  # what was read, and a simulator's space
        self.export, self.policy, self._contents = export, file.policy, contents
        self.row_of = np.array([export.content_ids.get(one, -1) for one in file.content_ids], np.int64)
        """Row of the export by row of the agent's contents; -1 where the export does not have the content."""
        self.own_row = np.full(len(export.contents), -1)
        self.own_row[self.row_of[self.row_of >= 0]] = np.flatnonzero(self.row_of >= 0)
        if len(self._there) < self.policy.slots:
            raise UserError(
                f"export={export.folder}: has {len(self._there)} playable contents that the agent knows, but a "
                f"slate has {self.policy.slots}"
            )

    @classmethod
    def open(cls, folder: Path, export: Export) -> "ServedAgent":
        """Opens the folder that `towers agent action=export` wrote; raises as `read_agent` and the constructor."""
        return cls(read_agent(folder), export)

    def draw(
        self, listener: Listener, rng: np.random.Generator, now_us: int | None = None, candidates: int = CANDIDATES
    ) -> Drawn:
        """Draws a slate for a listener, with the probability of each choice.

        Args:
            listener: a listener of the export, or a new one with a history.
            rng: the only source of randomness.
            now_us: microseconds since 1970, UTC; null: the end of what the export knows.
            candidates: number of candidates that the slate is drawn from.

        Returns:
            A slate of rows of the export, `[1, slots]`.
        """
        drawn = self.policy.draw(self.seen(listener, now_us, candidates), rng)
        return Drawn(slates=self.row_of[drawn.slates], propensities=drawn.propensities)

    def act(
        self, listener: Listener, now_us: int | None = None, candidates: int = CANDIDATES
    ) -> Int[np.ndarray, " slots"]:
        """Returns the best slate for a listener, in rows of the export; see `draw`."""
        return self.row_of[self.policy.act(self.seen(listener, now_us, candidates))[0]]

    def seen(self, listener: Listener, now_us: int | None = None, candidates: int = CANDIDATES) -> Seen:
        """Returns what the policy reads of a listener; see `draw`."""
        now_us = self._now_us(listener) if now_us is None else now_us
        heard = self.heard(listener)
        return seen_of_plays(self._contents, heard, self.candidates(listener, heard, now_us, candidates), now_us)

    def heard(self, listener: Listener) -> Heard:
        """Returns the listener's plays and skips of contents that the agent knows."""
        events = listener.standing.events
        own = np.where(events.content_row >= 0, self.own_row[events.content_row], -1)
        is_play = np.isin(events.action, (schema.PLAY, schema.SKIP)) & (own >= 0)
        return Heard(
            content=own[is_play].astype(np.int64), start_us=events.timestamp_us[is_play].astype(np.int64),
            is_skip=events.action[is_play] == schema.SKIP,
        )  # fmt: skip

    def candidates(self, listener: Listener, heard: Heard, now_us: int, number: int) -> Int[np.ndarray, " candidates"]:
        """Returns the rows of the agent's contents that a slate is chosen from: half are the nearest to what was played
        lately, a quarter the most played, a quarter the latest releases of two weeks. None is disliked by the
        listener."""
        contents, may_come = self._contents, self._may_come(listener, now_us)
        there = self._there[may_come]
        number = min(number, len(there))
        released, plays = contents.released_us[there], contents.plays[there]
        near, popular = (int(share * number) for share in _SHARES)
        is_new = released > now_us // DAY_US * DAY_US - _NEW_DAYS * DAY_US
        latest = np.argsort(-released, kind="stable")
        new = latest[is_new[latest]][: number - popular]
        most = np.argsort(-plays, kind="stable")
        shared = np.concatenate([new, most[~np.isin(most, new)][: number - near - len(new)]])
        score = self._vectors[may_come] @ self._query(heard)
        score[shared] = np.inf
        return np.sort(there[np.argpartition(score, len(score) - number)[-number:]])

    def worth(self, listener: Listener, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns the policy's scores of contents of the export for a listener, in the form of `journey.plan.Worth`.

        A content that the policy does not know gets the lowest of the scores (0 if that is lower) less 1.
        """
        own = self.own_row[rows]
        seen = seen_of_plays(self._contents, self.heard(listener), own, self._now_us(listener))
        scores = self.policy.scores(self.policy.features(seen), seen)[0].astype(np.float64)
        least = scores[own >= 0].min(initial=0.0) - 1.0
        return np.where(own >= 0, scores, least)

    def _may_come(self, listener: Listener, now_us: int) -> Bool[np.ndarray, " there"]:
        disliked = np.isin(self.row_of[self._there], listener.standing.disliked)
        return ~disliked & (self._contents.released_us[self._there] <= now_us)

    def _query(self, heard: Heard) -> Float[np.ndarray, " dim"]:
        """Returns the vector whose neighbours are candidates: the taste, or without plays the mean of all plays."""
        taste = taste_of(self._contents, heard)
        return taste if taste.any() else self._usual

    def _now_us(self, listener: Listener) -> int:
        last = int(listener.standing.events.timestamp_us.max(initial=0))
        return max(last, listener.standing.until_us or 0)

    @cached_property
    def _there(self) -> Int[np.ndarray, " there"]:
        """Rows of the agent's contents that the export has and that can be played."""
        is_playable = self.export.catalogue.of_kinds(schema.PLAYABLE_KINDS)
        return np.flatnonzero((self.row_of >= 0) & is_playable[np.maximum(self.row_of, 0)])

    @cached_property
    def _vectors(self) -> Float[np.ndarray, "there dim"]:
        return np.ascontiguousarray(self._contents.vectors[self._there], np.float32)

    @cached_property
    def _usual(self) -> Float[np.ndarray, " dim"]:
        plays = self._contents.plays[self._there] + 1.0
        mean = plays @ self._vectors / plays.sum()
        return (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)
