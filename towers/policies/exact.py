"""The best list under all rules, by an integer program (HiGHS through scipy): 5 to 35 ms for 30 places."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array

from towers.policies.rules import Candidates, Quota, Rules


def best_places(candidates: Candidates, rules: Rules, quotas: Sequence[Quota]) -> Int[np.ndarray, " picks"]:
    """Returns the places of the list that misses fewest places of the quotas' `least`; among these the longest, then
    best.

    Args:
        candidates: candidates to choose from.
        rules: caps, which always hold, as do `most` and `share`.
        quotas: quotas that the list is to meet.
    """
    masks = np.array([quota.mask for quota in quotas], bool).reshape(len(quotas), len(candidates))
    kept = _worth_a_look(candidates, rules, masks)
    if not len(kept):
        return kept
    few, mask = candidates.at(kept), masks[:, kept].astype(np.float64)
    shares, least = np.array([[quota.share, quota.least] for quota in quotas]).reshape(-1, 2).T
    most = np.array([np.inf if quota.most is None else quota.most for quota in quotas])
    cap = rules.max_per_artist or rules.k
    artists = _members(few.artists.values, few.artists.list_of_value, len(few), cap)
    recordings = _members(few.recordings, np.arange(len(few)), len(few), 1)
    # Each content is taken or not; then, for each quota, how many of its places are missed.
    upper: Any = np.append(np.ones(len(few)), np.full(len(quotas), np.inf))
    constraints = [
        _sums(np.ones((1, len(few))), len(upper), most=rules.k),
        _sums(artists, len(upper), most=cap),
        _sums(recordings, len(upper), most=1),
    ]
    if quotas:
        constraints += [
            _sums(mask, len(upper), most=most),
            _sums(mask - shares[:, None], len(upper), least=0),
            _sums(np.hstack([mask, np.eye(len(quotas))]), len(upper), least=least),
        ]
    # One more content is worth more than all utilities, one place less missed more than all contents.
    worth = (few.utility - few.utility.min()) / (float(np.ptp(few.utility)) or 1.0) + rules.k + 1
    found = milp(
        np.append(-worth, np.full(len(quotas), 2.0 * (rules.k + 1) ** 2)),
        constraints=constraints,
        bounds=Bounds(0, upper),
        integrality=np.append(np.ones(len(few)), np.zeros(len(quotas))),
        options={"mip_rel_gap": 0.0},
    )
    assert found.x is not None, found.message  # the empty list breaks no rule
    return kept[found.x[: len(kept)] > 0.5]


def _members(
    groups: Shaped[np.ndarray, " members"], contents: Int[np.ndarray, " members"], width: int, cap: int
) -> csc_array:
    """Returns `[groups, width]`: 1 where a content is in a group, for the groups with more than `cap` members."""
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    matrix = csc_array((np.ones(len(contents)), (codes, contents)), shape=(len(counts), width))
    return matrix[np.flatnonzero(counts > cap)]


def _sums(matrix: Any, width: int, *, least: Any = -np.inf, most: Any = np.inf) -> LinearConstraint:
    """Returns bounds of sums over the first of `width` columns."""
    sums: Any = csc_array(matrix)
    sums.resize(sums.shape[0], width)
    bounds: Any = (np.broadcast_to(bound, sums.shape[0]) for bound in (least, most))
    return LinearConstraint(sums, *bounds)


def _worth_a_look(
    candidates: Candidates, rules: Rules, masks: Bool[np.ndarray, "quotas candidates"]
) -> Int[np.ndarray, " kept"]:
    """Returns places that contain a best list, so that the program is small and no less exact.

    Two contents are alike if the same quotas count them. A content is left out where enough better ones that are alike,
    and that can be in one list together, exist, so that the k - 1 others of a list cannot exclude all of them: each
    other content excludes the one of its recording, and for each of its artists a `max_per_artist`th part of as many.
    Among alike contents with the same artists, the best `max_per_artist` suffice, unless their recordings appear
    elsewhere too.
    """
    offsets, codes = candidates.artists.offsets.tolist(), candidates.artists.values.tolist()
    cap = rules.max_per_artist or rules.k
    enough = (rules.k - 1) * (1 + int(candidates.artists.lengths.max(initial=0))) + 1
    alike = np.packbits(masks, axis=0).T
    recordings = candidates.recordings.tolist()
    homes: dict[int, set] = {}
    keys = [(tuple(codes[offsets[n] : offsets[n + 1]]), alike[n].tobytes()) for n in range(len(candidates))]
    for key, recording in zip(keys, recordings, strict=True):
        homes.setdefault(recording, set()).add(key)
    kept: list[int] = []
    seen: set = set()
    count: dict = {}
    for place, (key, recording) in enumerate(zip(keys, recordings, strict=True)):
        own, kind = key
        if (key, recording) in seen or count.get(kind, 0) >= enough or (own and count.get(key, 0) >= cap):
            continue
        kept.append(place)
        seen.add((key, recording))
        if len(homes[recording]) == 1:
            count[key] = count.get(key, 0) + 1
        artists = [(kind, artist) for artist in own]
        if (kind, recording) not in seen and all(count.get(artist, 0) < cap for artist in artists):
            seen.add((kind, recording))
            for counted in (kind, *artists):
                count[counted] = count.get(counted, 0) + 1
    return np.array(kept, np.int64)
