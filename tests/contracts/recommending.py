"""Contract of every door that recommends: the rule of `towers.retrieval.query`, computed anew, slowly and from raw
events.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from towers.contract import schema
from towers.retrieval.export import Export

QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"include_heard": True},
    {"skip_cooldown_days": 0},
    {"skip_cooldown_days": 7},
    {"skip_cooldown_days": 60.5, "include_heard": True},
    {"explicit": False, "include_heard": True},
    {"released_by": date(2026, 6, 1), "include_heard": True},
    {"released_by": date(2020, 1, 1), "include_heard": True, "skip_cooldown_days": 0},
    {"kind": ("playlist", "artist")},
    {"k": 3, "kind": ("episode", "track")},
    {"deny": range(5, 15), "include_heard": True, "explicit": False},
    {"among": range(5, 30, 2), "deny": [7, 9], "skip_cooldown_days": 10},
    {"among": []},
)
"""Questions in rows of the export; `k` is 42, which is all, unless a question gives another."""
FEW = [1, 8, 21, 22]


class RecommendingContract:
    """A door's tests inherit from it, and give `recommended`."""

    is_ranked = True
    """Whether the asking vector is that of the listener, so that the order of the answer can be checked."""
    takes_empty_lists = True
    """Whether the door takes an empty list to choose from."""

    def recommended(self, export: Export, user_rows: list[int], question: dict[str, Any]) -> Iterator[list[str]]:
        """Returns the ids that the door gives each of some listeners, best first."""
        raise NotImplementedError

    def listeners(self, export: Export) -> list[int]:
        """Rows of the listeners: some took a dislike back or played over it, with skips of all ages."""
        return FEW

    def test_the_rule(self, doors_export: Export) -> None:
        asking = self.listeners(doors_export)
        for asked in QUESTIONS:
            if not self.takes_empty_lists and asked.get("among") == []:
                continue
            question = {"k": 42, **asked}
            answers = list(self.recommended(doors_export, asking, question))
            assert len(answers) == len(asking)
            for row, answer in zip(asking, answers, strict=True):
                self.check(doors_export, row, question, answer)

    def check(self, export: Export, user_row: int, question: dict[str, Any], answer: list[str]) -> None:
        expected = may_come(export, user_row, question)
        if self.is_ranked:
            scores = export.vectors @ export.user_vectors[user_row]
            expected = sorted(expected, key=lambda row: (-scores[row], row))[: question["k"]]
            assert answer == [export.content_ids[row] for row in expected], question
        elif len(expected) <= question["k"]:
            assert sorted(answer) == sorted(export.content_ids[row] for row in expected), question
        else:
            assert len(answer) == question["k"]
            assert {export.content_ids.row(one) for one in answer} < {*expected}, question


def may_come(export: Export, user_row: int, question: dict[str, Any]) -> list[int]:
    """Returns the rows that may be recommended, content by content and event by event."""
    contents = export.contents.to_pylist()
    end = datetime.fromisoformat(export.manifest["window"]["end"])
    events = export.events(user_row)
    did: dict[int, list[tuple[str, datetime]]] = {}
    for row, action, time_us in zip(
        events.content_row.tolist(), events.action.tolist(), events.timestamp_us.tolist(), strict=True
    ):
        time = datetime.fromtimestamp(0, end.tzinfo) + timedelta(microseconds=time_us)
        did.setdefault(row, []).append((schema.ACTIONS[action], time))
    return [
        row
        for row, content in enumerate(contents)
        if passes(row, content, question, end) and stands(did.get(row, []), question, end)
    ]


def passes(row: int, content: dict[str, Any], question: dict[str, Any], end: datetime) -> bool:
    """Returns whether a content may be recommended to a listener who did nothing."""
    released_by = question.get("released_by", end.date())
    return (
        content["kind"] in question.get("kind", schema.PLAYABLE_KINDS)
        and row not in question.get("deny", ())
        and row in question.get("among", range(10**6))
        and (question.get("explicit", True) or not content["explicit"])
        and (content["release_date"] is None or content["release_date"] <= released_by)
    )


def stands(did: list[tuple[str, datetime]], question: dict[str, Any], end: datetime) -> bool:
    """Returns whether a content may be recommended to a listener who did these things with it."""
    words = [action for action, _ in did if action in ("like", "save", "dislike")]
    skips = [time for action, time in did if action == "skip"]
    if words and words[-1] == "dislike":
        return False
    if any(action in ("play", "like", "save", "unsave") for action, _ in did):
        return bool(question.get("include_heard", False))
    days = question.get("skip_cooldown_days", 30)
    return not skips or end - max(skips) >= timedelta(days=days)


def raw_history(export: Export, user_row: int) -> list[dict[str, Any]]:
    """Returns a listener's events as a client would post them, and a visit at the end of the data, from which days
    count.
    """
    events = export.events(user_row)
    durations = export.durations_ms[np.maximum(events.content_row, 0)]
    history: list[dict[str, Any]] = []
    for place, row in enumerate(events.content_row.tolist()):
        fraction = float(events.played_fraction[place])
        history.append(
            {
                "content_id": None if row < 0 else export.content_ids[row],
                "timestamp": f"{np.datetime64(int(events.timestamp_us[place]), 'us')}Z",
                "action": schema.ACTIONS[events.action[place]],
                "played_ms": None if fraction < 0 else fraction * float(durations[place]),
            }
        )
    return [*history, {"content_id": None, "timestamp": export.manifest["window"]["end"], "action": "browse"}]
