"""A version is tried before it serves: with golden files and the real server, and with readers that misbehave."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from towers.errors import UserError
from towers.lifecycle import served_check
from towers.lifecycle.asking import Answer
from towers.lifecycle.canaries import LENGTHS, TOLD, Canary, drawn
from towers.lifecycle.served_check import GIVEN_UP, PASSES, CanarySettings, ServedCheck, checked
from towers.manifest import digest_of_file
from towers.retrieval.export import Export

GOLDEN = Path(__file__).parents[1] / "golden" / "format-4" / "export"
BY_READER = CanarySettings(
    server=False, count=5, seed=0, min_overlap=0.3, max_empty=0.05, max_latency_ratio=2.0, min_latency_ms=50.0,
    min_index_recall=0.9, timeout_s=60.0, answer_s=10.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions with the same content, so that only their names differ."""
    folder = tmp_path_factory.mktemp("versions")
    made = []
    for name in ("before", "after"):
        shutil.copytree(GOLDEN, folder / name)
        path = folder / name / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": name}))
        (folder / name / "manifest.json.sha256").write_text(f"{digest_of_file(path)}  manifest.json\n")
        made.append(folder / name)
    return made[0], made[1]


Spoil = Callable[[Canary, Answer], Answer]


@pytest.fixture
def misbehaving(versions: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    """Returns the check for two versions that answer alike in 10 ms, except for the given changes."""

    def check(spoil: Spoil, whose: tuple[str, ...] = ("after",), **changes: float) -> tuple[ServedCheck, Counter[str]]:
        asked: Counter[str] = Counter()

        class Changed:
            def __init__(self, folder: Path):
                self._name = folder.name

            def ask(self, canary: Canary) -> Answer:
                asked[self._name] += 1
                answer = Answer(ids=("a", "b", "c"), took_ms=10.0)
                return spoil(canary, answer) if self._name in whose else answer

        monkeypatch.setattr(served_check, "ByReader", Changed)
        before, after = versions
        return checked(after, before, replace(BY_READER, **changes)), asked

    return check


@pytest.mark.unhooked
def test_the_real_server_answers_as_the_version_that_serves_does(versions: tuple[Path, Path]) -> None:
    before, after = versions
    found = checked(after, before, replace(BY_READER, server=True))
    assert found.passes, found
    assert found.failed == 0
    assert found.overlap == pytest.approx(1.0)
    assert found.compared > 10
    assert (found.empty, found.version, found.champion) == (0.0, "after", "before")
    assert found.median_ms > 0
    assert "asked of towers serve, 0 failed" in str(found)


def test_canaries_are_of_everybody_and_the_same_again(versions: tuple[Path, Path]) -> None:
    before, after = map(Export, versions)
    found = drawn(after, before, 5, 0)
    assert found == drawn(after, before, 5, 0)
    assert found != drawn(after, before, 5, 1)
    groups = Counter(canary.group for canary in found)
    assert {"health", "listener", "newcomer", "similar track", "lists"} <= set(groups)
    assert "new content" not in groups
    lengths = [len(after.events(after.user_row(one.asked["user"]))) for one in found if one.group == "listener"]
    assert len({sum(length >= least for least in LENGTHS) for length in lengths}) > 1
    assert {len(one.asked["history"]) for one in found if one.group == "newcomer"} >= set(TOLD)


def test_new_contents_are_asked_of_the_candidate_alone(versions: tuple[Path, Path], monkeypatch) -> None:
    before, after = map(Export, versions)
    new = [after.content_ids[row] for row in (0, 3)]
    known = before.content_ids
    monkeypatch.setattr(before, "content_ids", {one: row for row, one in enumerate(known) if one not in new})
    found = [one for one in drawn(after, before, 5, 0) if one.group == "new content"]
    assert {one.asked["content"] for one in found} == set(new)
    assert not any(one.is_for_both for one in found)


def test_the_first_version_of_all_is_compared_with_none(versions: tuple[Path, Path]) -> None:
    found = checked(versions[1], None, replace(BY_READER, count=1))
    assert found.passes
    assert (found.compared, found.overlap, found.champion_median_ms, found.latency_ratio) == (0, None, None, None)


def test_other_lists_are_refused(misbehaving) -> None:
    def other(canary: Canary, answer: Answer) -> Answer:
        return replace(answer, ids=tuple(f"other {one}" for one in answer.ids or ()))

    found, _ = misbehaving(other)
    assert found.overlap == 0
    told = "canaries: lists{} overlap by 0.000 with those of before, below canaries.min_overlap=0.3"
    assert found.refused[:2] == (told.format(""), told.format(" of the group listener"))
    assert misbehaving(other, min_overlap=0.0)[0].passes


def test_other_lists_of_listeners_alone_are_refused(misbehaving) -> None:
    """Such lists come about when ids are given to other listeners: the mean of all lists hardly shows it."""

    def of_others(canary: Canary, answer: Answer) -> Answer:
        return replace(answer, ids=("x", "y", "z")) if canary.group == "listener" else answer

    found, _ = misbehaving(of_others)
    assert found.overlap > BY_READER.min_overlap
    assert [line.partition(" with")[0] for line in found.refused] == [
        "canaries: lists of the group listener overlap by 0.000"
    ]


def test_lists_that_have_become_empty_are_refused(misbehaving) -> None:
    def empty(canary: Canary, answer: Answer) -> Answer:
        return replace(answer, ids=() if canary.group == "listener" else answer.ids)

    found, _ = misbehaving(empty, min_overlap=0.0)
    assert found.empty > 0.05
    assert "are empty, above canaries.max_empty=0.05" in found.refused[0]
    assert misbehaving(empty, whose=("before", "after"))[0].passes  # as they were


def test_a_slower_version_is_refused_unless_it_is_quick_enough(misbehaving) -> None:
    for took_ms, passes in ((21.0, True), (51.0, False)):
        found, _ = misbehaving(lambda canary, answer, took_ms=took_ms: replace(answer, took_ms=took_ms))
        assert found.passes == passes
        assert found.latency_ratio == took_ms / 10
    assert "takes 51 ms, 5.1 times those of before, above canaries.max_latency_ratio=2" in found.refused[0]


@pytest.mark.parametrize("whose", ["after", "before"])
def test_who_does_not_answer_is_refused_and_asked_no_more(misbehaving, whose: str) -> None:
    def silent(canary: Canary, answer: Answer) -> Answer:
        return replace(answer, ids=None, fault="gone")

    found, asked = misbehaving(silent, whose=(whose,))
    assert not found.passes
    assert "gone" in str(found)
    assert "gone" not in " ".join(found.refused)
    assert any("no list could be compared" in line for line in found.refused)
    assert asked[whose] == GIVEN_UP * PASSES
    assert found.failed == (found.asked if whose == "after" else 0)


def test_one_failure_is_enough(misbehaving) -> None:
    def once(canary: Canary, answer: Answer) -> Answer:
        return replace(answer, ids=None, fault="500: oh") if canary.path == "health" else answer

    found, _ = misbehaving(once)
    assert found.failed == 1
    assert found.refused == ("canaries: 1 without an answer: health (0)",)
    assert str(found).endswith("\nhealth (0): 500: oh")


def test_what_is_kept_of_a_failure_names_no_listener(misbehaving) -> None:
    """Reasons for a refusal go into records and to watchers; the answers themselves to the terminal alone."""

    def quoted(canary: Canary, answer: Answer) -> Answer:
        is_one = canary.group in ("listener", "newcomer", "lists")
        return replace(answer, ids=None, fault=f"not an answer: {canary.asked}") if is_one else answer

    found, _ = misbehaving(quoted)
    assert "listener (1)" in found.refused[0]
    export = Export(GOLDEN)
    named = [*export.user_ids, *export.content_ids]
    assert not [one for one in named if str(one) in " ".join(found.refused)]
    assert "'user': " in str(found)


def test_what_the_data_does_not_allow_is_declined_by_both_or_refused(misbehaving) -> None:
    def declined(canary: Canary, answer: Answer) -> Answer:
        is_list = canary.group == "lists"
        return replace(answer, ids=None, fault="no", is_declined=True) if is_list else answer

    found, _ = misbehaving(declined, whose=("before", "after"))
    assert found.passes
    assert found.declined > 0
    found, _ = misbehaving(declined)
    assert not found.passes
    assert (found.declined, found.failed) == (0, sum(one.group == "lists" for one in canaries_of(found)))


def canaries_of(found: ServedCheck) -> list[Canary]:
    export = Export(GOLDEN)
    return drawn(export, export, BY_READER.count, BY_READER.seed)


def test_a_damaged_version_is_refused_before_anything_is_started(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delattr(served_check, "served_apart")
    shutil.copytree(GOLDEN, tmp_path / "bad")
    path = tmp_path / "bad" / "content_vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    found = checked(tmp_path / "bad", GOLDEN, replace(BY_READER, server=True))
    assert found.refused == ("verify: content_vectors.npy: its checksum is not the manifest's",)
    assert not checked(tmp_path / "nothing", GOLDEN, BY_READER).passes


@pytest.mark.parametrize(
    "change", [{"min_overlap": 1.5}, {"count": 0}, {"max_empty": float("nan")}, {"timeout_s": 0.0}]
)
def test_settings_that_cannot_be(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=f"^canaries.{name}="):
        replace(BY_READER, **change)
