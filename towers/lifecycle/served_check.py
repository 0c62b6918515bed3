"""Check before a version serves: it opens and verifies, and answers canaries much as the served version does."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from towers.errors import UserError
from towers.evaluation.comparison.overlap import rank_biased_overlap
from towers.lifecycle.asking import Answer, Asked, ByHttp, ByReader
from towers.lifecycle.canaries import Canary, K, drawn
from towers.lifecycle.server_process import NotServed, check_installed, served_apart
from towers.retrieval.export import Export
from towers.retrieval.verify import problems

PASSES: Final = 2
"""Times that each canary is sent; at the first, a server may still read files that the second finds in memory."""
GIVEN_UP: Final = 3
"""Number of canaries in a row without an answer after which a version is not asked any more."""
FEWEST: Final = 5
"""Fewest lists of a group whose overlap is judged separately: mixed-up rows of listeners leave neighbours unchanged."""
SHOWN: Final = 3
"""Most faults that are reported."""

Pairs = list[tuple[Canary, Answer, Answer | None]]
"""Canaries with the answers of the candidate and of the served version; null where that was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """Settings of the canaries, and limits beyond which a version is refused.

    Args:
        server: whether to ask `towers serve` in a process of its own; else the reader in this process.
        count: canaries of each group: listeners, newcomers, contents of each kind, new contents.
        seed: seed of their draw.
        min_overlap: least mean rank-biased overlap with the lists of the served version, 0 to 1, over all lists and in
            each group.
        max_empty: largest share of lists that are empty and were not before.
        max_latency_ratio: largest ratio of the median latency to that of the served version.
        min_latency_ms: median latency, in milliseconds, up to which any ratio is accepted.
        min_index_recall: least recall of the exact nearest 10, as in `towers verify`.
        timeout_s: seconds to wait until a server is ready.
        answer_s: seconds to wait for an answer.

    Raises:
        UserError: an invalid value.
    """

    server: bool
    count: int
    seed: int
    min_overlap: float
    max_empty: float
    max_latency_ratio: float
    min_latency_ms: float
    min_index_recall: float
    timeout_s: float
    answer_s: float

    def __post_init__(self) -> None:
        wrong = [name for name in ("min_overlap", "max_empty", "min_index_recall") if not 0 <= getattr(self, name) <= 1]
        if wrong:
            raise UserError(f"canaries.{wrong[0]}={getattr(self, wrong[0])}: must be from 0 to 1")
        for name, least in (("count", 1), ("max_latency_ratio", 1.0), ("min_latency_ms", 0.0)):
            if not getattr(self, name) >= least:
                raise UserError(f"canaries.{name}={getattr(self, name)}: must be {least:g} or more")
        for name in ("timeout_s", "answer_s"):
            if not getattr(self, name) > 0:
                raise UserError(f"canaries.{name}={getattr(self, name)}: must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCheck:
    """Result of trying a version.

    Args:
        version: version that was tried.
        champion: version that serves; null: none.
        by_server: whether `towers serve` was asked; else the reader.
        asked: number of canaries.
        failed: canaries without an answer.
        declined: canaries that the version's data does not allow, nor that of the served version, if any.
        compared: number of lists that were compared.
        overlap: their mean rank-biased overlap; null where none was compared.
        overlaps: the mean rank-biased overlap of each group of `FEWEST` lists and more.
        empty: share of the lists that are empty, and were not in the served version, if any.
        median_ms, p95_ms: latency in milliseconds; null without any answer.
        champion_median_ms: median latency of the served version, over the same canaries.
        refused: a line for each broken limit, which names its key; empty: the version may serve.
        said: reasons for the first missing answers, for the terminal alone: a server may quote its arguments, and so a
            listener's id.
    """

    version: str
    champion: str | None
    by_server: bool
    asked: int = 0
    failed: int = 0
    declined: int = 0
    compared: int = 0
    overlap: float | None = None
    overlaps: Mapping[str, float]
    empty: float = 0.0
    median_ms: float | None = None
    p95_ms: float | None = None
    champion_median_ms: float | None = None
    refused: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Returns whether the version may serve."""
        return not self.refused

    @property
    def latency_ratio(self) -> float | None:
        """Ratio of the median latencies; null where one of them is unknown."""
        return self.median_ms / self.champion_median_ms if self.median_ms and self.champion_median_ms else None

    def __str__(self) -> str:
        by = "towers serve" if self.by_server else "the reader alone"
        told = [f"{self.asked} canaries asked of {by}", f"{self.failed} failed"]
        if self.declined:
            told.append(f"{self.declined} declined by the data")
        if self.overlap is not None:
            told.append(f"lists overlap by {self.overlap:.2f} with those of {self.champion}")
        told.append(f"{self.empty:.1%} empty")
        if self.median_ms is not None:
            than = "" if self.champion_median_ms is None else f" (before {self.champion_median_ms:.1f} ms)"
            told.append(f"median {self.median_ms:.1f} ms{than}, 95 % within {self.p95_ms:.1f} ms")
        words = f"{self.version}: {', '.join(told)}" if self.asked else f"{self.version}: no canary was asked"
        return words if self.passes else "\n".join([f"{words}; refused: {'; '.join(self.refused)}", *self.said])


def checked(candidate: Path, champion: Path | None, settings: CanarySettings) -> ServedCheck:
    """Tries a version that is written but does not serve yet. Fails closed: missing answers are a reason to refuse it.

    Args:
        candidate: folder of the version.
        champion: folder of the served version; null: none.
        settings: settings and limits.

    Raises:
        UserError: `towers serve` is asked for and not installed here, which is no fault of a version.
    """
    if settings.server:
        check_installed("canaries.server")
    told = {"version": candidate.name, "champion": champion.name if champion else None, "by_server": settings.server}
    found = [*_unsound(candidate, settings.min_index_recall)]
    if found:
        return ServedCheck(**told, overlaps={}, refused=tuple(found))
    try:
        versions = [Export(folder, check_files=False) for folder in (candidate, champion) if folder is not None]
        canaries = drawn(versions[0], versions[1] if champion else None, settings.count, settings.seed)
        with _opened(versions, settings) as asked:
            pairs = _answers(canaries, *asked)
    except (NotServed, UserError) as error:
        return ServedCheck(**told, overlaps={}, refused=(f"canaries: {error}",))
    return _judged(told, pairs, settings)


def _unsound(folder: Path, min_index_recall: float) -> Iterator[str]:
    """Yields what is wrong with the files, one line each."""
    try:
        yield from (f"verify: {problem}" for problem in problems(Export(folder, check_files=False), min_index_recall))
    except UserError as error:
        yield f"verify: {error}"
    except Exception as error:  # the checksums are right, but it cannot be read
        yield f"verify: {folder.name}: {type(error).__name__}: {error}"


@contextmanager
def _opened(versions: Sequence[Export], settings: CanarySettings) -> Iterator[list[Asked]]:
    if not settings.server:
        yield [ByReader(version.folder) for version in versions]
        return
    with served_apart([version.folder for version in versions], settings.timeout_s) as servers:
        pairs = zip(servers, versions, strict=True)
        yield [ByHttp(server, version.version, settings.answer_s) for server, version in pairs]


def _answers(canaries: Sequence[Canary], asked: Asked, before: Asked | None = None) -> Pairs:
    """Asks both versions in turn, so that other load on the machine slows both; keeps the quicker time of each."""
    new, old = _Asking(asked), before and _Asking(before)
    pairs: Pairs = []
    for place, canary in enumerate(canaries):
        both = [new] if old is None or not canary.is_for_both else [new, old]
        answers: dict[int, Answer] = {}
        for turn in range(PASSES):
            for one in both if (place + turn) % 2 else both[::-1]:
                answers[id(one)] = _quicker(answers.get(id(one)), one.ask(canary))
        pairs.append((canary, answers[id(new)], answers.get(id(old))))
    return pairs


def _quicker(first: Answer | None, second: Answer) -> Answer:
    """Returns the quicker of two answers; a failure if one of them is one."""
    if first is None or second.ids is None:
        return second
    return first if first.ids is None or first.took_ms <= second.took_ms else second


class _Asking:
    """Stops asking a version once it does not answer."""

    def __init__(self, asked: Asked):
        self._asked = asked
        self._last: Counter[bool] = Counter()

    def ask(self, canary: Canary) -> Answer:
        if self._last[True] >= GIVEN_UP * PASSES:
            return Answer(ids=None, took_ms=0.0, fault="not asked after so many failures")
        answer = self._asked.ask(canary)
        self._last = self._last + Counter([True]) if answer.ids is None and not answer.is_declined else Counter()
        return answer


def _judged(told: Mapping[str, Any], pairs: Pairs, settings: CanarySettings) -> ServedCheck:
    lists = [(canary, new, old) for canary, new, old in pairs if canary.path != "health" and new.ids is not None]
    answered = [(canary, new, old) for canary, new, old in lists if old is not None and old.ids is not None]
    comparable = [(canary, new.ids, old.ids) for canary, new, old in answered if canary.is_compared]
    declined = [canary for canary, new, old in pairs if new.is_declined and (old is None or old.is_declined)]
    places = [(f"{canary.group} ({place})", canary, new, old) for place, (canary, new, old) in enumerate(pairs)]
    faults = [(name, new.fault) for name, canary, new, _ in places if new.ids is None and canary not in declined]
    silent = [(name, old.fault) for name, _, _, old in places if old and old.ids is None and not old.is_declined]
    alike = _alike(comparable)
    full = [(new, old) for canary, new, old in lists if not canary.may_be_declined]  # lists may be empty
    empty = [not new.ids and (old is None or bool(old.ids)) for new, old in full]
    both = answered or lists
    check = {
        "asked": len(pairs),
        "failed": len(faults),
        "declined": len(declined),
        "compared": len(comparable),
        "empty": float(np.mean(empty)) if empty else 0.0,
        **alike,
        "median_ms": _within(50, [new for _, new, _ in both]),
        "p95_ms": _within(95, [new for _, new, _ in both]),
        "champion_median_ms": _within(50, [old for _, _, old in answered if old is not None]),
    }
    refused = [*_told_faults(faults, ""), *_told_faults(silent, f"the version that serves, {told['champion']}: ")]
    said = tuple(f"{name}: {fault}" for each in (faults, silent) for name, fault in each[:SHOWN])
    found = ServedCheck(**told, **check)
    return ServedCheck(**told, **check, refused=(*refused, *_broken(found, settings)), said=said)


def _alike(lists: list[tuple[Canary, Any, Any]]) -> dict[str, Any]:
    """Returns the overlap of all lists, and that of each group."""
    codes: dict[str, int] = {}
    first, second = np.full((2, len(lists), K), -1)
    for place, (_, new, old) in enumerate(lists):
        for row, ids in ((first[place], new), (second[place], old)):
            row[: len(ids)] = [codes.setdefault(one, len(codes)) for one in ids]
    ranked = rank_biased_overlap(first, second)
    groups: dict[str, list[float]] = {}
    for (canary, _, _), overlap in zip(lists, ranked.tolist(), strict=True):
        if np.isfinite(overlap):  # both are empty
            groups.setdefault(canary.group, []).append(overlap)
    means = {name: float(np.mean(values)) for name, values in groups.items() if len(values) >= FEWEST}
    if not groups:
        return {"overlap": None, "overlaps": {}}
    return {"overlap": float(np.nanmean(ranked)), "overlaps": means}


def _within(percent: int, answers: Sequence[Answer]) -> float | None:
    """Returns a percentile of the latencies in milliseconds; null without answers."""
    return float(np.percentile([answer.took_ms for answer in answers], percent)) if answers else None


def _told_faults(faults: Sequence[tuple[str, str | None]], whose: str) -> Iterator[str]:
    """Yields one line for all faults, which names the first ones by group and place."""
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        yield f"canaries: {whose}{len(faults)} without an answer: {', '.join(name for name, _ in faults[:SHOWN])}{more}"


def _broken(check: ServedCheck, settings: CanarySettings) -> Iterator[str]:
    """Yields a line for each broken limit, with its key."""
    if check.asked <= 1:
        yield "canaries: there was no listener and no content to ask for"
    if check.champion is not None and check.overlap is None:
        yield f"canaries: no list could be compared with those of {check.champion}"
    told = {"": check.overlap, **{f" of the group {name}": overlap for name, overlap in check.overlaps.items()}}
    for of, overlap in told.items():
        if overlap is not None and not overlap >= settings.min_overlap:
            yield (
                f"canaries: lists{of} overlap by {overlap:.3f} with those of {check.champion}, below "
                f"canaries.min_overlap={settings.min_overlap:g}"
            )
    if not check.empty <= settings.max_empty:
        yield f"canaries: {check.empty:.1%} of the lists are empty, above canaries.max_empty={settings.max_empty:g}"
    ratio = check.latency_ratio
    is_slow = ratio is not None and ratio > settings.max_latency_ratio
    if is_slow and check.median_ms is not None and check.median_ms > settings.min_latency_ms:
        yield (
            f"canaries: a median answer takes {check.median_ms:.0f} ms, {ratio:.1f} times those of {check.champion}, "
            f"above canaries.max_latency_ratio={settings.max_latency_ratio:g}"
        )
