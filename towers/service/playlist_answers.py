"""Answers about lists as JSON text, made from one snapshot. This module knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.contract.near_names import not_among
from towers.policies.kinds import KINDS
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.pool_file import told_of
from towers.policies.reasons import in_words
from towers.service.cards import written
from towers.service.playlist_kinds import SHOWN
from towers.service.playlist_questions import ListQuestion, pool_of_export
from towers.service.snapshot import NotFound, Snapshot


def kinds(snapshot: Snapshot) -> str:
    """Answers `/playlists`: `items` are the kinds of lists and what each needs, `regions` names for `to`."""
    items = [{"name": name} | asdict(kind) for name, kind in SHOWN.items()]
    for item in items:
        for field in ("users", "contents"):
            least, most = item[field]
            item[field] = {"least": least, "most": most}
    regions = snapshot.export.regions
    names = [] if regions is None else list(regions.names)
    return written({"version": snapshot.version, "items": items, "regions": names})


def playlist(snapshot: Snapshot, name: str, question: ListQuestion) -> str:
    """Makes a list of the kind `name` and answers with it.

    Raises:
        NotFound: there is no such kind; or as `ListQuestion.request`.
        UserError: the kind cannot make such a list.
    """
    if name not in KINDS:
        raise NotFound(f"playlist {name!r}: no such kind of list; {not_among(name, KINDS)}")
    kind = KINDS[name]()
    request = question.request(snapshot, kind)
    made = kind.make(request)
    heard = np.isin(made.rows, request.listeners[0].standing.heard) if len(request.listeners) == 1 else None
    facts = {fact: made.facts.get(fact) for fact in ("match", "new", "region")}
    told = {
        "version": snapshot.version,
        "space_id": snapshot.export.space_id,
        "playlist": name,
        "title": SHOWN[name].title,
        "unknown": question.num_unknown(snapshot),
        "remark": made.remark,
        "facts": {"members": made.facts.get("members", [])} | facts,
    }
    return f'{written(told)[:-1]},"items":{_items(snapshot, made, heard)}}}'


def pools(snapshot: Snapshot) -> str:
    """Answers `/pools`: `items` are the editors' playlists of the export, without their contents."""
    known = snapshot.shared.pools
    items = [{"pool_id": pool_id, "title": pool.title, "num_contents": len(pool)} for pool_id, pool in known.items()]
    return written({"version": snapshot.version, "items": items})


def pool(snapshot: Snapshot, pool_id: str) -> str:
    """Answers with `pool`, in the form that `/playlists/algotorial` takes, and `contents`, in the editor's order.

    Raises:
        NotFound: no editor of this version made a playlist of this id.
    """
    found = pool_of_export(snapshot, pool_id)
    cards = ",".join(snapshot.cards.card(row).json for row in found.rows.tolist())
    told = {"version": snapshot.version, "pool_id": pool_id, "pool": told_of(found)}
    return f'{written(told)[:-1]},"contents":[{cards}]}}'


def _items(snapshot: Snapshot, made: Playlist, heard: Bool[np.ndarray, " picks"] | None) -> str:
    """Returns the items as JSON; `heard` says for each whether the one listener knows it, null without one listener."""
    items = []
    for place, (row, score) in enumerate(zip(made.rows.tolist(), made.scores.tolist(), strict=True)):
        reasons = [_why(snapshot, made.reasons[place])] if made.reasons else []
        told = {
            "score": round(score, 6),
            "heard": None if heard is None else bool(heard[place]),
            "reasons": reasons,
            "shares": _shares(snapshot, made, place),
        }
        items.append(f'{{"content":{snapshot.cards.card(row).json},{written(told)[1:]}')
    return f"[{','.join(items)}]"


def _shares(snapshot: Snapshot, made: Playlist, place: int) -> list[dict[str, Any]]:
    """Returns the share of each member in a place of a blend, with reasons; empty for other lists."""
    members: Sequence[str] = made.facts.get("members", ())
    return [
        {
            "member": member,
            "share": round(float(made.facts["shares"][place, at]), 6),
            "reasons": [_why(snapshot, because)] if (because := made.facts["because"][place][at]) else [],
        }
        for at, member in enumerate(members)
    ]


def _why(snapshot: Snapshot, reason: Reason) -> dict[str, Any]:
    because = None if reason.because < 0 else snapshot.export.content_ids[reason.because]
    return {"reason": reason.kind, "text": in_words(snapshot.export, reason), "because": because}
