"""Selection of a list: the candidates of the highest utility that its rules allow together.

Caps (number of places, contents of an artist, one of a recording) and the quotas' `most` and `share` always hold.
`least` is met as far as possible, then the list is made as long as possible; both are exact. Then its utility is
maximised: exactly where each content has at most one artist and contents of a recording have the same artist. Elsewhere
the list is filled place by place without breaking a rule, and another list might have a little more utility.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.policies.calibration import by_greedy
from towers.policies.exact import best_places
from towers.policies.rules import Candidates, Picked, Quota, Rules

STYLE_WEIGHT = 0.93
"""The largest weight, of those tried on validation, that cost new contents no ndcg
(`benchmarks/playlists/calibration.py`)."""
Choose = Callable[[Int[np.ndarray, " some"], int], Int[np.ndarray, " picks"]]
"""Function that chooses a number of given places of candidates, without the rules; returns indices into these
places."""


def pick(candidates: Candidates, rules: Rules, quotas: Sequence[Quota] = ()) -> Picked:
    """Returns the list of the highest total utility that the rules and quotas allow."""
    places: np.ndarray | None = best_one_by_one(candidates, rules)
    if len(places) < min(rules.k, len(candidates)) or not all(_holds(places, quota, rules.k) for quota in quotas):
        places = _in_two_parts(candidates, rules, quotas, places)
    if places is None:
        places = best_places(candidates, rules, quotas)
    return Picked(places=places, remark=_remark(places, rules, quotas))


def in_styles(
    candidates: Candidates,
    rules: Rules,
    styles: Float[np.ndarray, "candidates styles"],
    p: Float[np.ndarray, " styles"],
    weight: float = STYLE_WEIGHT,
) -> Choose:
    """Returns a function for `pick_near`: lists near the styles `p` that keep the caps (`calibration.by_greedy`).

    Args:
        candidates: candidates to choose from.
        rules: rules that the list keeps.
        styles: styles of the candidates, in their order.
        p: styles that the list is to have (`calibration.listener_mix`).
        weight: 0 (utility alone) to 1 (styles alone); the default was chosen for log odds.
    """

    def choose(left: np.ndarray, length: int) -> np.ndarray:
        few = candidates.at(left)
        bars = Bars(few, rules)
        return by_greedy(few.utility, styles[left], p, length, weight=weight, of_whole=True, bars=bars)

    return choose


class Bars:
    """Candidates that the caps exclude as a list grows.

    Args:
        candidates: candidates to choose from.
        rules: the caps.
    """

    def __init__(self, candidates: Candidates, rules: Rules):
        self._candidates, self._of_value = candidates, candidates.artists.list_of_value
        self._cap, self._count = rules.max_per_artist or rules.k, dict[int, int]()

    def __call__(self, place: int) -> Int[np.ndarray, " barred"]:
        """Adds a candidate to the list, and returns the places that are excluded from now on."""
        barred = [np.flatnonzero(self._candidates.recordings == self._candidates.recordings[place])]
        for artist in self._candidates.artists[place].tolist():
            self._count[artist] = self._count.get(artist, 0) + 1
            if self._count[artist] == self._cap:
                barred.append(self._of_value[self._candidates.artists.values == artist])
        return np.concatenate(barred)


def pick_near(candidates: Candidates, rules: Rules, quotas: Sequence[Quota], choose: Choose) -> Picked:
    """Returns the list that `choose` makes, such as a calibrated one, changed as little as the rules and quotas
    require.

    This is a heuristic. Where too many contents of an artist or a recording are chosen, only the best of them are kept,
    the others are removed from the candidates, and `choose` chooses again, until the caps hold. If quotas of one mask
    do not hold then, it chooses again from both parts separately. In the end `pick` finds the list with most of these
    contents: caps and quotas hold as there, while the aim of `choose` may be missed a little.
    """
    everything = np.ones(len(candidates), bool)
    chosen = _chosen_under_caps(candidates, rules, choose, [(everything, rules.k)])
    bounds = _bounds(quotas, rules.k)
    if bounds is not None and not all(_holds(chosen, quota, rules.k) for quota in quotas):
        mask = quotas[0].mask
        inside = int(np.clip(mask[chosen].sum(), *bounds))
        chosen = _chosen_under_caps(candidates, rules, choose, [(mask, inside), (~mask, rules.k - inside)])
    # The chosen contents get utilities above all others: of the allowed lists the one with most of them is the best.
    wanted = candidates.utility.copy()
    wanted[chosen] += float(np.ptp(wanted)) * rules.k + 1.0 if len(wanted) else 0.0
    order = np.argsort(-wanted, kind="stable")
    preferred = replace(candidates.at(order), utility=wanted[order])
    found = pick(preferred, rules, [replace(quota, mask=quota.mask[order]) for quota in quotas])
    return replace(found, places=np.sort(order[found.places]))


def _chosen_under_caps(
    candidates: Candidates, rules: Rules, choose: Choose, parts: Sequence[tuple[np.ndarray, int]]
) -> Int[np.ndarray, " picks"]:
    """Returns places chosen by `choose` from each part, as many as the part is to have, such that the caps hold."""
    left = np.arange(len(candidates))
    while True:
        of_parts = [(left[mask[left]], length) for mask, length in parts if length]
        chosen = np.sort(np.concatenate([part[choose(part, length)] for part, length in of_parts]))
        kept = chosen[best_one_by_one(candidates.at(chosen), rules)]
        if len(kept) == len(chosen):
            return chosen
        left = _without_rivals(candidates, rules, left, kept)


def best_one_by_one(
    candidates: Candidates, rules: Rules, part: Bool[np.ndarray, " candidates"] | None = None, inside: int = 0
) -> Int[np.ndarray, " picks"]:
    """Returns the places found by taking each candidate, the best first, that breaks no cap.

    Args:
        candidates: candidates to choose from.
        rules: the caps.
        part: candidates that are to fill `inside` of the `rules.k` places, while the others fill the rest; null: no
            parts.
        inside: number of places of `part`.
    """
    is_in = [False] * len(candidates) if part is None else part.tolist()
    room = [rules.k, 0] if part is None else [rules.k - inside, inside]
    offsets, codes = candidates.artists.offsets.tolist(), candidates.artists.values.tolist()
    cap = rules.max_per_artist or rules.k
    chosen: list[int] = []
    taken: set[int] = set()
    count: dict[int, int] = {}
    for place, recording in enumerate(candidates.recordings.tolist()):
        own = codes[offsets[place] : offsets[place + 1]]
        side = is_in[place]
        if not room[side] or recording in taken or any(count.get(artist, 0) >= cap for artist in own):
            continue
        chosen.append(place)
        if len(chosen) == rules.k:
            break
        room[side] -= 1
        taken.add(recording)
        for artist in own:
            count[artist] = count.get(artist, 0) + 1
    return np.array(chosen, np.int64)


def _holds(places: np.ndarray, quota: Quota, length: int) -> bool:
    found = int(quota.mask[places].sum())
    return quota.least_of(length) <= found <= (length if quota.most is None else quota.most)


def _in_two_parts(
    candidates: Candidates, rules: Rules, quotas: Sequence[Quota], freely: Int[np.ndarray, " picks"]
) -> Int[np.ndarray, " picks"] | None:
    """Meets quotas of one mask, or of it and its complement, by filling both parts of a list separately.

    Where both parts together keep the caps that they share, and fill the list, the list is the best: utility is concave
    in the number from one part, so that number is the nearest to the one without quotas. Where they do not, and some
    contents have several artists, both parts are filled in one pass: no cheap method is exact then, and an exact one
    costs a hundred times as much. Null in all other cases, and where the list is not filled.
    """
    bounds = _bounds(quotas, rules.k)
    if bounds is None:
        return None
    mask, (low, high) = quotas[0].mask, bounds
    inside = min(max(int(mask[freely].sum()), low), high)
    parts = []
    for part, length in ((mask, inside), (~mask, rules.k - inside)):
        of = np.flatnonzero(part)
        parts.append(of[best_one_by_one(candidates.at(of), replace(rules, k=length))] if length else of[:0])
    both = np.sort(np.concatenate(parts))
    is_whole = len(both) == rules.k and len(best_one_by_one(candidates.at(both), rules)) == rules.k
    if not is_whole and candidates.artists.lengths.max(initial=0) > 1:
        both = best_one_by_one(candidates, rules, mask, inside)
        is_whole = len(both) == rules.k
    return both if is_whole else None


def _bounds(quotas: Sequence[Quota], k: int) -> tuple[int, int] | None:
    """Returns bounds on the number of the first quota's contents within which all quotas hold; null where they are of
    other parts, or contradict each other."""
    low, high = 0, k
    for quota in quotas:
        least, most = quota.least_of(k), k if quota.most is None else quota.most
        if np.array_equal(quota.mask, quotas[0].mask):
            low, high = max(low, least), min(high, most)
        elif np.array_equal(quota.mask, ~quotas[0].mask):
            low, high = max(low, k - most), min(high, k - least)
        else:
            return None
    return (low, high) if quotas and low <= high else None


def _without_rivals(
    candidates: Candidates, rules: Rules, left: Int[np.ndarray, " left"], kept: Int[np.ndarray, " kept"]
) -> Int[np.ndarray, " still_left"]:
    """Returns the places left without those that the caps exclude beside `kept`; `kept` itself stays."""
    artists, counts = np.unique(candidates.artists.take(kept).values, return_counts=True)
    full = artists[counts >= (rules.max_per_artist or rules.k)]
    of_left = candidates.artists.take(left)
    is_rival = np.bincount(of_left.list_of_value, np.isin(of_left.values, full), minlength=len(left)) > 0
    is_rival |= np.isin(candidates.recordings[left], candidates.recordings[kept])
    return left[~is_rival | np.isin(left, kept)]


def _remark(places: np.ndarray, rules: Rules, quotas: Sequence[Quota]) -> str:
    """Returns which places could not be filled, in words."""
    missed = []
    if len(places) < rules.k:
        missed.append(f"{len(places)} of {rules.k} places are filled: the rules allow no more contents")
    for quota in quotas:
        found, least = int(quota.mask[places].sum()), quota.least_of(len(places))
        if found < least:
            missed.append(f"{found} of {least} places have contents {quota.name}: there are no more")
    return "; ".join(missed)
