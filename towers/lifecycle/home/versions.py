"""From a log to the next version of a policy: it learns from the older part, is judged by the newer one, then serves.

    data = HomeData(export=export, card_rows=rows, impressions=read_log(folder), reward=reward, attention=attention)
    made = updated(policies, data, on_progress)            # a version beside the current one
    result, evidence = judged(policies, made.folder, data, judge, on_progress)
    if home_gate.judge(evidence, rules).passed:
        lead_to(policies, made.folder)

A version is written atomically, and invalid input is found before anything is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.errors import UserError
from towers.evaluation.off_policy.judge import OffPolicyJudge, OffPolicyResult
from towers.lifecycle.home.choices import choices_of
from towers.lifecycle.home.learning import Lesson, learn
from towers.lifecycle.home.slates import ids_of
from towers.lifecycle.home_gate.gate import HomeEvidence
from towers.manifest import digest_of
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.log_outcomes import Attention
from towers.policies.bandit.policy_file import (
    CURRENT,
    PolicyVersion,
    WritablePolicy,
    open_policy,
    serve_version,
    version_folder,
    write_policy,
)
from towers.policies.bandit.reward import Reward
from towers.publishing.sinks.sink import Progress
from towers.retrieval.export import Export

HELD_OUT: Final = 0.2
"""Share of the requests, the newest ones, that a version does not learn from."""
_SAID: Final = (
    "request_id", "slot", "user_id", "chosen_id", "propensity", "clicked", "played_ms", "skipped", "finished", "saved",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class HomeData:
    """Data that policies of a home page learn from and are judged by.

    Args:
        export: export by whose vectors they choose.
        card_rows: rows of the cards that pages show today.
        impressions: impressions of a log (`read_log`) or a store (`impressions_with_outcomes`), in time order, with
            outcomes.
        reward: values of outcomes.
        attention: rule for which slots were seen.
    """

    export: Export
    card_rows: Int[np.ndarray, " cards"]
    impressions: pa.Table
    reward: Reward
    attention: Attention

    @cached_property
    def times_us(self) -> Int[np.ndarray, " rows"]:
        """Time when each row was shown, in microseconds since 1970, UTC."""
        return self.impressions["timestamp"].cast(pa.int64()).to_numpy()

    def cards(self, known_ids: Sequence[str] = ()) -> HomeCards:
        """Returns the cards of today, and those of the same kinds that the log shows and the export still has.

        Args:
            known_ids: ids in the order of their numbers in a policy's state.
        """
        shown = self.export.content_ids.rows(ids_of(self.impressions))
        earlier = np.setdiff1d(shown[shown >= 0], self.card_rows)
        kinds = np.unique(self.export.kinds[self.card_rows])
        earlier = earlier[np.isin(self.export.kinds[earlier], kinds)]
        return HomeCards(export=self.export, rows=np.concatenate([self.card_rows, earlier]), known_ids=tuple(known_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Result of learning.

    Args:
        folder: folder of the version; null: there was nothing to learn, and nothing was written.
        lesson: what it learned from; null: there is no log.
        is_current: whether it serves from now on.
        held_out: number of later rows, by which it can be judged.
    """

    folder: Path | None
    lesson: Lesson | None
    is_current: bool
    held_out: int


def trained(
    folder: Path,
    policy: WritablePolicy,
    data: HomeData,
    on_progress: Progress,
    *,
    held_out: float = HELD_OUT,
    keep: int = 5,
) -> Made:
    """Writes a version of a policy trained from the log alone.

    Without a log it has learned nothing, and explores; it serves at once where no version does. With a log it has to
    pass the gate first.

    Args:
        folder: folder of the policy, with all its versions.
        policy: untrained policy; changed in place.
        data: data that it learns from.
        on_progress: called with the progress in rows.
        held_out: share of the requests, the newest ones, that it does not learn from.
        keep: number of versions that stay.

    Raises:
        UserError: the policy cannot learn from this space, or its folder cannot be written to.
    """
    current = current_of(folder, data.export)
    cards = data.cards()
    if not len(data.impressions):
        written = write_policy(
            folder,
            policy,
            space_id=data.export.space_id,
            update=0,
            learned_from={"from_us": None, "until_us": None, "rows": 0},
            card_ids=cards.card_ids,
            keep=keep,
            becomes_current=current is None,
        )
        return Made(folder=written, lesson=None, is_current=current is None, held_out=0)
    return _learned(folder, policy, data, cards, current, None, held_out, keep, on_progress)


def updated(folder: Path, data: HomeData, on_progress: Progress, *, held_out: float = HELD_OUT, keep: int = 5) -> Made:
    """Writes a version that continues the one that serves, trained on rows that it has not learned from yet.

    It does not serve until `lead_to`.

    Args:
        folder: folder of the policy, with all its versions.
        data: data that it learns from; rows that the current version has learned from are left out.
        on_progress: called with the progress in rows.
        held_out: share of the new requests, the newest ones, that it does not learn from.
        keep: number of versions that stay.

    Raises:
        UserError: no version serves, it is of another space, or its folder cannot be written to.
    """
    current = open_policy(folder, data.export.space_id)
    cards = data.cards(current.card_ids)
    return _learned(folder, current.policy, data, cards, current, current, held_out, keep, on_progress)


def judged(
    folder: Path,
    version: Path,
    data: HomeData,
    judge: OffPolicyJudge,
    on_progress: Progress,
    *,
    more: str = "",
) -> tuple[OffPolicyResult, HomeEvidence]:
    """Judges a version by the rows later than all that it has learned from.

    Args:
        folder: folder of the policy; its current version is the one in production.
        version: folder of the version to judge.
        data: data with the log.
        judge: off-policy judge.
        on_progress: called with the progress in slates.
        more: page or command with more, see `HomeEvidence`.

    Raises:
        UserError: the version is damaged or of another space, or no row is late enough.
    """
    found = open_policy(version, data.export.space_id)
    until_us = _until_us(found)
    if not len(data.impressions) or (until_us is not None and data.times_us[-1] <= until_us):
        raise UserError(
            f"{version}: the log has no row that it has not learned from; wait for newer ones, or hold out more"
        )
    current = current_of(folder, data.export)
    choices = choices_of(
        data.cards(found.card_ids),
        data.impressions,
        found.policy,
        data.reward,
        on_progress,
        slots=judge.slots,
        after_us=until_us,
        production=None if current is None else current.logged_as,
    )
    try:
        result = judge.judge(choices.log, choices.features, choices.new_features, choices.production)
    except ValueError as error:
        raise UserError(f"{version}: cannot be judged by this log ({error})") from None
    return result, HomeEvidence(result=result, more=more)


def lead_to(folder: Path, version: Path) -> None:
    """Makes a version the one that serves, after opening it.

    Args:
        folder: folder of the policy.
        version: folder of one of its versions.

    Raises:
        UserError: it is damaged, or no version of this policy.
    """
    serve_version(folder, version.resolve().name)


def current_of(folder: Path, export: Export) -> PolicyVersion | None:
    """Opens the version that serves; null where none does.

    Raises:
        UserError: it is damaged, or of another space.
    """
    if not (folder / CURRENT).exists():
        return None
    return open_policy(version_folder(folder), export.space_id)


def _learned(
    folder: Path,
    policy: WritablePolicy,
    data: HomeData,
    cards: HomeCards,
    current: PolicyVersion | None,
    begun: PolicyVersion | None,
    held_out: float,
    keep: int,
    on_progress: Progress,
) -> Made:
    """Trains a policy on the older part of the new rows, and writes it as a version that does not serve yet.

    Args:
        folder: folder of the policy.
        policy: policy to train; changed in place.
        data: data that it learns from.
        cards: cards as the policy numbers them.
        current: version that serves; null: none.
        begun: version whose state the policy has; null: it is untrained.
        held_out: share of the new requests that it does not learn from.
        keep: number of versions that stay.
        on_progress: called with the progress in rows.
    """
    after_us = None if begun is None else _until_us(begun)
    until_us = _cut_us(data, after_us, held_out)
    if until_us is None:
        return Made(folder=None, lesson=None, is_current=False, held_out=0)
    is_older = data.times_us <= until_us
    older = data.impressions.filter(pa.array(is_older))
    try:
        lesson = learn(policy, cards, older, data.reward, data.attention, on_progress, after_us=after_us)
    except ValueError as error:
        raise UserError(f"{folder}: {policy.policy_id} cannot learn from this log ({error})") from None
    rest = int((~is_older).sum())
    if not lesson.rows:
        return Made(folder=None, lesson=lesson, is_current=False, held_out=rest)
    before = {} if begun is None else begun.learned_from
    written = write_policy(
        folder,
        policy,
        space_id=data.export.space_id,
        update=(0 if begun is None else begun.update) + lesson.batches,
        learned_from={
            "from_us": before.get("from_us") or lesson.first_us,
            "after_us": after_us,
            "until_us": until_us,
            "rows": lesson.rows,
            "left_out": dict(lesson.left_out),
            "figures": dict(lesson.figures),
            "log_digest": _digest(older, after_us),
            "goes_on_from": None if begun is None else begun.version,
            "production": None if current is None else current.version,
        },
        card_ids=cards.card_ids,
        keep=keep,
        becomes_current=False,
    )
    return Made(folder=written, lesson=lesson, is_current=False, held_out=rest)


def _until_us(version: PolicyVersion) -> int | None:
    """Returns the time of the last row that a version has learned from or skipped; null where it is untrained.

    Raises:
        UserError: the version does not record it.
    """
    if "until_us" not in version.learned_from:
        if version.update:
            raise UserError(f"{version.folder}: does not record until when it has learned; train a new one")
        return None
    return version.learned_from["until_us"]


def _cut_us(data: HomeData, after_us: int | None, held_out: float) -> int | None:
    """Returns the time until which rows are learned from, so that a share of the later requests is left; null: none
    new."""
    if not 0 <= held_out < 1:
        raise UserError(f"held_out={held_out}: must be at least 0 and below 1")
    is_new = np.ones(len(data.times_us), bool) if after_us is None else data.times_us > after_us
    if not is_new.any():
        return None
    requests = data.impressions["request_id"].filter(pa.array(is_new)).combine_chunks().dictionary_encode()
    _, first = np.unique(requests.indices.to_numpy(), return_index=True)
    times_us = np.sort(data.times_us[is_new][first])
    return int(times_us[max(round(len(times_us) * (1 - held_out)), 1) - 1])


def _digest(impressions: pa.Table, after_us: int | None) -> str:
    """Computes a digest of the contents of a log's rows, in their order."""
    times_us = impressions["timestamp"].cast(pa.int64())
    if after_us is not None:
        impressions = impressions.filter(pa.array(times_us.to_numpy() > after_us))
    columns = [impressions[name].to_pylist() for name in _SAID]
    return digest_of([impressions["timestamp"].cast(pa.int64()).to_pylist(), *columns])
