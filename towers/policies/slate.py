"""Which contents a list holds: the best that its rules let stand side by side.

Caps (so many places, so many contents of an artist, one of a recording) and the quotas' `most` and `share` hold always.
`least` is met as far as it can be, then the list is as long as it can be. Both are exact. Then its utility is as high
as it can be: exact where each content has one artist or none and those of a recording have the same. Elsewhere a list
that one by one fills its places and breaks no rule is taken, and another might have a little more utility.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.policies.calibration import by_greedy
from towers.policies.exact import best_places
from towers.policies.rules import Candidates, Picked, Quota, Rules

STYLE_WEIGHT = 0.93
"""The largest, of those tried on validation, that cost new contents no ndcg (`benchmarks/playlists/calibration.py`)."""
Choose = Callable[[Int[np.ndarray, " some"], int], Int[np.ndarray, " picks"]]
"""Of places of the candidates so many that are a good list but for its rules; gives indices into these places."""


def pick(candidates: Candidates, rules: Rules, quotas: Sequence[Quota] = ()) -> Picked:
    """The list of the highest total utility that the rules and quotas let be."""
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
    """For `pick_near`: lists near the styles `p`, that keep the caps from the first place on (`calibration.by_greedy`).

    Args:
        candidates: to choose from.
        rules: that the list is to keep.
        styles: of the candidates, in their order.
        p: styles that the list is to have (`calibration.listener_mix`).
        weight: 0 (utility alone) to 1 (styles alone); the default is chosen for logarithms of odds.
    """

    def choose(left: np.ndarray, length: int) -> np.ndarray:
        few = candidates.at(left)
        bars = Bars(few, rules)
        return by_greedy(few.utility, styles[left], p, length, weight=weight, of_whole=True, bars=bars)

    return choose


class Bars:
    """What the caps no longer let in, as a list grows.

    Args:
        candidates: to choose from.
        rules: the caps.
    """

    def __init__(self, candidates: Candidates, rules: Rules):
        self._candidates, self._of_value = candidates, candidates.artists.list_of_value
        self._cap, self._count = rules.max_per_artist or rules.k, dict[int, int]()

    def __call__(self, place: int) -> Int[np.ndarray, " barred"]:
        """Places of the candidates that cannot come now that this one has."""
        barred = [np.flatnonzero(self._candidates.recordings == self._candidates.recordings[place])]
        for artist in self._candidates.artists[place].tolist():
            self._count[artist] = self._count.get(artist, 0) + 1
            if self._count[artist] == self._cap:
                barred.append(self._of_value[self._candidates.artists.values == artist])
        return np.concatenate(barred)


def pick_near(candidates: Candidates, rules: Rules, quotas: Sequence[Quota], choose: Choose) -> Picked:
    """The list that `choose` makes, such as a calibrated one, changed as little as its rules and quotas ask for.

    A heuristic: contents of an artist or a recording of which too many were chosen are taken out, all but the best of
    those chosen, and `choose` chooses anew, until the caps hold. Where quotas of one mask do not hold then, it chooses
    anew from both parts, each for itself. Last, the list with most of these contents is the one that `pick` finds: so
    caps and quotas hold as there, while what `choose` was after may be a little off.
    """
    everything = np.ones(len(candidates), bool)
    chosen = _chosen_under_caps(candidates, rules, choose, [(everything, rules.k)])
    bounds = _bounds(quotas, rules.k)
    if bounds is not None and not all(_holds(chosen, quota, rules.k) for quota in quotas):
        mask = quotas[0].mask
        inside = int(np.clip(mask[chosen].sum(), *bounds))
        chosen = _chosen_under_caps(candidates, rules, choose, [(mask, inside), (~mask, rules.k - inside)])
    # Utilities above all others for what was chosen: of the lists that may be, the one with most of it is the best.
    wanted = candidates.utility.copy()
    wanted[chosen] += float(np.ptp(wanted)) * rules.k + 1.0 if len(wanted) else 0.0
    order = np.argsort(-wanted, kind="stable")
    preferred = replace(candidates.at(order), utility=wanted[order])
    found = pick(preferred, rules, [replace(quota, mask=quota.mask[order]) for quota in quotas])
    return replace(found, places=np.sort(order[found.places]))


def _chosen_under_caps(
    candidates: Candidates, rules: Rules, choose: Choose, parts: Sequence[tuple[np.ndarray, int]]
) -> Int[np.ndarray, " picks"]:
    """Places that `choose` chooses from each part, as many as it is to have, until the caps hold."""
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
    """Places of the candidates that come by taking each, the best first, that breaks no cap.

    Args:
        candidates: to choose from.
        rules: the caps.
        part: of the candidates, that is to have `inside` of the `rules.k` places, and the others the rest; null:
            nobody counts.
        inside: places of `part`.
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
    """Quotas of one mask, or of it and its opposite, by filling both parts of a list one by one, each for itself.

    Where both together keep the caps that they share, and fill the list, none is better: utility is concave in how
    many come of one part, so that number is the nearest to what comes freely. Where they do not, and some contents have
    several artists, both parts are filled in one go: no cheap way is exact then, and one that is costs a hundred times
    as much. Null in all other cases, and where the list is not filled.
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
    """Between which numbers of the first quota's contents all hold; null where they speak of other parts, or clash."""
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
    """Places without those, but for `kept`, that cannot stand beside `kept`."""
    artists, counts = np.unique(candidates.artists.take(kept).values, return_counts=True)
    full = artists[counts >= (rules.max_per_artist or rules.k)]
    of_left = candidates.artists.take(left)
    is_rival = np.bincount(of_left.list_of_value, np.isin(of_left.values, full), minlength=len(left)) > 0
    is_rival |= np.isin(candidates.recordings[left], candidates.recordings[kept])
    return left[~is_rival | np.isin(left, kept)]


def _remark(places: np.ndarray, rules: Rules, quotas: Sequence[Quota]) -> str:
    """What could not be filled, in words."""
    missed = []
    if len(places) < rules.k:
        missed.append(f"{len(places)} of {rules.k} places are filled: the rules let no more contents in")
    for quota in quotas:
        found, least = int(quota.mask[places].sum()), quota.least_of(len(places))
        if found < least:
            missed.append(f"{found} of {least} places have contents {quota.name}: there are no more")
    return "; ".join(missed)
