"""Every door applies the same rule: the command line, Python, HTTP, mixed versions, a request for all listeners, and
posted histories.

The export is the golden one, with days of release, explicit contents and a like taken back.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.asking import REMARK, doors
from tests.contracts.recommending import FEW, RecommendingContract, raw_history
from towers import api
from towers.commands import recommend
from towers.config.composing import compose
from towers.contract import schema
from towers.errors import UserError
from towers.publishing.tables import write_mapped
from towers.retrieval.checksums import digest_line, digests_of_files
from towers.retrieval.export import Export
from towers.retrieval.files import mapped_table
from towers.retrieval.mixing import listeners_against
from towers.retrieval.query import Query
from towers.service.app import create_app
from towers.service.audio import AudioFolder
from towers.service.limits import Limits
from towers.service.live import Live
from towers.service.snapshot import Snapshot

GOLDEN = Path(__file__).parent / "golden" / "format-2" / "export"
LIMITS = Limits(
    max_k=50, max_history=1_000, max_ids=50, max_text=30, max_body_bytes=1_000_000, max_map=100,
    max_members=5, max_seeds=10, max_pool=20, max_quotas=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def doors_export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    folder = tmp_path_factory.mktemp("doors") / "v1"
    shutil.copytree(GOLDEN, folder)
    contents = pq.read_table(folder / "contents.parquet")
    days = [None, date(2019, 3, 1), date(2026, 5, 4), date(2026, 5, 5), date(2026, 6, 2), date(2020, 1, 1)]
    released = pa.array([days[row % len(days)] for row in range(len(contents))], pa.date32())
    explicit = pa.array([[None, False, True][row % 3] for row in range(len(contents))], pa.bool_())
    for name, column in (("release_date", released), ("explicit", explicit)):
        contents = contents.set_column(contents.column_names.index(name), name, column)
    metadata = {name.decode(): text.decode() for name, text in (contents.schema.metadata or {}).items()}
    write_mapped(folder / "contents.arrow", contents, metadata)
    pq.write_table(contents, folder / "contents.parquet")
    like_what_was_disliked(folder / "histories")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = digests_of_files(folder, sorted(manifest["files"]))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.json.sha256").write_text(digest_line(folder))
    return Export(folder)


def like_what_was_disliked(histories: Path) -> None:
    """Turns the first play after a dislike into a like, for the first listener in `FEW` who has one."""
    events, offsets = mapped_table(histories / "events.arrow"), np.load(histories / "offsets.npy")
    action, rows = events["action"].to_numpy().copy(), events["content_row"].to_numpy()
    for user in FEW:
        own = slice(offsets[user], offsets[user + 1])
        for place in np.flatnonzero(action[own] == schema.DISLIKE) + own.start:
            later = np.arange(place + 1, own.stop)
            plays = later[(rows[later] == rows[place]) & (action[later] == schema.PLAY)]
            if len(plays):
                action[plays[0]] = schema.LIKE
                changed = events.set_column(events.column_names.index("action"), "action", pa.array(action))
                write_mapped(histories / "changed.arrow", changed.combine_chunks(), {})
                (histories / "changed.arrow").replace(histories / "events.arrow")  # the old one is still mapped
                return
    raise AssertionError("no such listener")


@pytest.fixture(scope="module")
def client(doors_export: Export) -> Iterator[TestClient]:
    audio = AudioFolder(None)

    def live() -> Live:
        return Live(doors_export.folder, lambda folder: Snapshot.open(folder, audio), 60.0)

    with TestClient(create_app(live, LIMITS, 2)) as asking:
        yield asking


def ids(export: Export, rows: Any) -> list[str]:
    return [export.content_ids[row] for row in rows]


def found_ids(answer: dict[str, Any]) -> list[str]:
    return [item["content"]["content_id"] for item in answer["items"]]


def in_json(export: Export, question: dict[str, Any]) -> dict[str, Any]:
    named = {"deny": ids(export, question.get("deny", []))}
    if "among" in question:
        named["among"] = ids(export, question["among"])
    if "released_by" in question:
        named["released_by"] = question["released_by"].isoformat()
    plain = ("k", "kind", "explicit", "include_heard", "skip_cooldown_days")
    return {name: question[name] for name in plain if name in question} | named


def in_overrides(export: Export, question: dict[str, Any]) -> list[str]:
    told = in_python(export, question)
    lists = {name: f"[{','.join(value)}]" for name, value in told.items() if isinstance(value, (list, tuple))}
    return [f"{name}={value}" for name, value in (told | lists).items()]


def in_python(export: Export, question: dict[str, Any]) -> dict[str, Any]:
    return question | {name: ids(export, question[name]) for name in ("deny", "among") if name in question}


class TestCommandLine(RecommendingContract):
    def listeners(self, export: Export) -> list[int]:
        return FEW[:1]

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        for row in user_rows:
            given = [f"export='{export.folder}'", "check=false", f"user='{export.user_ids[row]}'"]
            found = recommend.run(compose("recommend", [*given, *in_overrides(export, question)]))
            assert found is not None
            yield ids(export, found.rows.tolist())


class TestPython(RecommendingContract):
    def listeners(self, export: Export) -> list[int]:
        return list(range(len(export.user_ids)))

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        opened = api.open(export.folder, check=False)
        for row in user_rows:
            found = opened.recommend(user=export.user_ids[row], **in_python(export, question))
            yield [one["content_id"] for one in found]


class TestPythonOfAFolder(RecommendingContract):
    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        for row in user_rows:
            asked = in_python(export, question)
            found = api.recommend(user=export.user_ids[row], export=export.folder, **asked)
            yield [one["content_id"] for one in found]


class TestPythonWithHistories(RecommendingContract):
    is_ranked = False

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        opened = api.open(export.folder, check=False)
        for row in user_rows:
            found = opened.recommend(history=raw_history(export, row), **in_python(export, question))
            yield [one["content_id"] for one in found]


class TestWithheld:
    """The ids that an engine has to leave out are those that no door recommends."""

    @pytest.mark.parametrize("include_heard", [False, True])
    def test_what_is_left_is_recommended(self, doors_export: Export, include_heard: bool) -> None:
        opened = api.open(doors_export.folder, check=False)
        nobody = opened.recommend(history=[], k=50)
        for row in FEW:
            for whom in ({"user": doors_export.user_ids[row]}, {"history": raw_history(doors_export, row)}):
                withheld = set(opened.withheld(**whom, include_heard=include_heard))
                shown = opened.recommend(**whom, include_heard=include_heard, k=50)
                left = {one["content_id"] for one in nobody} - withheld
                assert {one["content_id"] for one in shown} == left


class TestGet(RecommendingContract):
    takes_empty_lists = False

    @pytest.fixture(autouse=True)
    def _asks(self, client: TestClient) -> None:
        self.client = client

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        parameters = in_json(export, question)
        for row in user_rows:
            answer = self.client.get("/recommend", params={"user": export.user_ids[row], **parameters})
            yield found_ids(answer.json())


class TestPost(RecommendingContract):
    @pytest.fixture(autouse=True)
    def _asks(self, client: TestClient) -> None:
        self.client = client

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        for row in user_rows:
            body = {"user": export.user_ids[row], **in_json(export, question)}
            yield found_ids(self.client.post("/recommend", json=body).json())


class TestPostedHistory(RecommendingContract):
    is_ranked = False

    @pytest.fixture(autouse=True)
    def _asks(self, client: TestClient) -> None:
        self.client = client

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        for row in user_rows:
            body = {"history": raw_history(export, row), **in_json(export, question)}
            yield found_ids(self.client.post("/recommend", json=body).json())


class TestMixedVersions(RecommendingContract):
    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        mixed = listeners_against(Export(export.folder, check_files=False), export)
        lists = {name: np.array(question[name], np.int64) for name in ("deny", "among") if name in question}
        for row in user_rows:
            yield ids(export, mixed.recommend(row, Query(**question | lists)).rows.tolist())


class TestEverybody(RecommendingContract):
    def listeners(self, export: Export) -> list[int]:
        return list(range(len(export.user_ids)))

    @pytest.fixture(autouse=True, params=["", "users"])
    def _writes(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        self.path, self.is_mixed = tmp_path / "all.parquet", bool(request.param)

    def recommended(self, export, user_rows, question) -> Iterator[list[str]]:
        given = [f"export='{export.folder}'", "check=false", "user=all", f"output='{self.path}'"]
        given += [f"users='{export.folder}'"] * self.is_mixed
        recommend.run(compose("recommend", [*given, *in_overrides(export, question)]))
        table = pq.read_table(self.path).to_pylist()
        for row in user_rows:
            own = [one for one in table if one["user_id"] == export.user_ids[row]]
            yield [one["content_id"] for one in sorted(own, key=lambda one: one["rank"])]


def test_what_was_refused_and_never_chosen_on_the_golden_export() -> None:
    """Through `user=` 114 such contents were once shown and through a posted history none; 9 were disliked, 52 skipped
    lately.
    """
    export = Export(GOLDEN, check_files=False)
    opened = api.open(GOLDEN, check=False)
    refused, disliked, shown, told = 0, 0, [], []
    for row in range(len(export.user_ids)):
        events = export.events(row)
        never = np.setdiff1d(
            events.content_row[np.isin(events.action, [schema.SKIP, schema.DISLIKE])], events.chosen_rows
        )
        never = never[never >= 0]
        hated = np.intersect1d(never, events.content_row[events.action == schema.DISLIKE])
        refused, disliked = refused + len(never), disliked + len(hated)
        for whom, answers in (({"user": export.user_ids[row]}, shown), ({"history": raw_history(export, row)}, told)):
            found = {export.content_ids.row(one["content_id"]) for one in opened.recommend(**whom, k=42)}
            assert not found & set(hated.tolist())
            answers.append(found & set(never.tolist()))
    assert (refused, disliked) == (114, 9)
    assert shown == told
    assert sum(map(len, shown)) == 53


def test_days_of_a_posted_history_are_counted_from_its_own_end() -> None:
    export, opened = Export(GOLDEN, check_files=False), api.open(GOLDEN, check=False)
    track = export.content_ids[5]
    skip = {"content_id": track, "action": "skip", "timestamp": "2020-01-01T00:00:00Z"}

    def comes(*history: dict[str, Any], **asked) -> bool:
        return track in [one["content_id"] for one in opened.recommend(history=[*history], k=42, **asked)]

    assert not comes(skip)  # the last event is the skip itself
    assert not comes(skip, {"action": "search", "timestamp": "2020-01-30T23:59:59Z"})
    assert comes(skip, {"action": "search", "timestamp": "2020-01-31T00:00:00Z"})
    timeless = [{"content_id": track, "action": "skip"}, {"action": "search"}]
    assert not comes(*timeless)
    assert not comes(*timeless, skip_cooldown_days=1)
    assert comes(*timeless, skip_cooldown_days=0)


TRACKS = ("ca916fb63", "cd60cee62", "ce400d3af")
EVENTS = [
    {"content_id": TRACKS[0], "action": "skip", "timestamp": "2026-06-01T10:00:00Z", "context": "radio"},
    {"content_id": TRACKS[1], "action": "play", "timestamp": "2026-06-01T10:05:00Z", "played_ms": 60_000},
    {"action": "search", "timestamp": "2026-06-01T10:06:00Z"},
]
VECTOR = [3.0, -1.0, 0.5, 0, 2, -0.25, 1e-3, 0]
TONE = Path("tone")
"""A placeholder for a file of sound."""
ASKED: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    ("recommend", {"history": [*TRACKS]}, None),
    ("recommend", {"history": EVENTS, "skip_cooldown_days": 0, "k": 5}, None),
    ("recommend", {"features": {"country": "DE"}, "k": 50, "kind": "track"}, None),
    ("recommend", {"history": [TRACKS[0]], "features": {"country": "xx"}, "explicit": False}, "features.country=xx"),
    ("recommend", {"vector": VECTOR, "kind": ["playlist", "track"], "deny": [TRACKS[0]]}, None),
    ("recommend", {"vector": VECTOR, "among": [*TRACKS], "released_by": "2026-05-04"}, None),
    ("similar", {"content": TRACKS[1]}, None),
    ("similar", {"content": TRACKS[1], "kind": ["episode", "artist"], "explicit": False, "k": 3}, None),
    ("similar", {"audio": TONE, "k": 50}, None),
    ("similar", {"audio": TONE, "metadata": {"genres": ["polka"], "kind": "episode"}}, "metadata.genres=polka"),
    ("similar", {"metadata": {"genres": ["folk"], "title": "New", "release_date": "2026-01-02"}}, None),
    (
        "similar",
        {"metadata": {"genres": ["folk", "polka"], "release_date": "1887-05-01", "explicit": True}, "kind": "track"},
        "metadata.genres=polka, metadata.release_date=1887-05-01, metadata.explicit=True",
    ),
    ("embed", {"history": EVENTS, "features": {"country": "DE"}}, None),
    ("embed", {"history": [*TRACKS], "features": {"country": None}}, None),
    ("embed", {"history": [TRACKS[2]], "features": {"country": 7}}, "features.country=7"),
    ("embed_content", {"audio": TONE, "metadata": {"artist_ids": [1], "language": "ja"}}, "metadata.artist_ids=1"),
    ("embed_content", {"metadata": {"genres": ["jazz"], "album_id": None}}, None),
)
"""Questions, and the unknown ids in each."""
REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("similar", {"metadata": {"genre": "techno"}}, "metadata.genre: no such column of contents/; did you mean genres?"),
    (
        "similar",
        {"metadata": {"genres": ["polka"]}},
        "metadata.genres=polka: this export knows nothing of it; give a s",
    ),
    ("similar", {"metadata": {"genres": "folk"}}, "genres=folk: must be a list"),
    ("similar", {"metadata": {"kind": "song"}}, "kind=song: no such kind"),
    (
        "similar",
        {"audio": TONE, "metadata": {"mood": "sad"}},
        "metadata.mood: no such column of contents/; there are k",
    ),
    ("similar", {"audio": np.ones(4, np.float32)}, "audio: give a file, or samples"),
    ("similar", {"content": TRACKS[0], "audio": TONE}, "give either content, or audio and metadata of one that the"),
    ("similar", {}, "give either content, or audio"),
    ("similar", {"content": TRACKS[0], "kind": []}, "kind: give at least one"),
    ("embed_content", {"metadata": {"title": "New"}}, "metadata.title: this export knows nothing of it"),
    ("embed", {"features": {"country": "xx"}}, "features.country=xx: this export knows nothing of it; give a history"),
    ("embed", {"features": {"countryy": "DE"}}, "features.countryy: no such column of listeners; did you mean country"),
    ("recommend", {"history": [], "features": {"country": "xx"}}, "features.country=xx: this export knows nothing"),
    ("recommend", {}, "give either user, or history and features of a new listener, or vector"),
    ("recommend", {"user": "u", "vector": VECTOR}, "give either user, or history"),
    ("recommend", {"vector": VECTOR, "features": {"country": "DE"}}, "give either user, or history"),
    ("recommend", {"vector": VECTOR[1:]}, "vector: 7 numbers, and this export's vectors have 8"),
    ("recommend", {"vector": [0] * 8}, "vector: all numbers are 0"),
    ("recommend", {"history": [TRACKS[0], {"content_id": TRACKS[1]}]}, "history: give ids alone, or events alone"),
    ("recommend", {"vector": VECTOR, "kind": "song"}, "kind=song: no such kind"),
)


class TestTheSameEverywhere:
    """A question has one answer, one remark and one refusal through every door."""

    @pytest.fixture
    def asking(self, doors_export: Export, client: TestClient, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        return doors(doors_export, client, capsys)

    @staticmethod
    def told(question: dict[str, Any], door: str, folder: Path) -> dict[str, Any]:
        """Returns the arguments, with a file of sound; on the command line an array is given as a file."""
        times_s = np.arange(16_000) / 8_000
        soundfile.write(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * times_s), 8_000)
        given = {name: folder / "tone.wav" if value is TONE else value for name, value in question.items()}
        if door == "command line" and isinstance(given.get("audio"), np.ndarray):
            np.save(folder / "audio.npy", given["audio"])
            given["audio"] = folder / "audio.npy"
        return given

    @pytest.mark.parametrize(("name", "question", "unknown"), ASKED)
    def test_answers(self, asking, tmp_path: Path, name: str, question: dict[str, Any], unknown: str | None) -> None:
        answers = {door: ask(name, self.told(question, door, tmp_path)) for door, ask in asking.items()}
        expected, _ = answers["Python"]
        assert len(expected)
        for door, (answer, said) in answers.items():
            assert said == (None if unknown is None else REMARK + unknown), door
            if name.startswith("embed"):
                np.testing.assert_allclose(answer, expected, atol=1e-6)
            else:
                assert [one for one, _ in answer] == [one for one, _ in expected], door
                assert [score for _, score in answer] == pytest.approx([score for _, score in expected], abs=2e-6)

    @pytest.mark.parametrize(("name", "question", "line"), REFUSED)
    def test_refusals(self, asking, tmp_path: Path, name: str, question: dict[str, Any], line: str) -> None:
        for door, ask in asking.items():
            with pytest.raises(UserError) as refused:
                ask(name, self.told(question, door, tmp_path))
            assert str(refused.value).startswith(line), door

    def test_a_vector_may_be_of_any_length_and_lie_in_a_file(self, asking, doors_export, tmp_path: Path) -> None:
        plain = np.asarray(VECTOR, np.float32)
        np.save(tmp_path / "long.npy", plain * 1e20)

        def found(door: str, vector: Any) -> list[str]:
            return [content_id for content_id, _ in asking[door]("recommend", {"vector": vector})[0]]

        expected = found("Python", plain)
        for vector in (plain * 1e-30, [1e300 * number for number in VECTOR]):
            assert [found(door, vector) for door in asking] == [expected] * 3
        assert found("command line", tmp_path / "long.npy") == expected
        for path, said in ((tmp_path / "none.npy", "no such file"), (Path(__file__), "not a file of NumPy")):
            with pytest.raises(UserError, match=f"^vector={path}: {said}"):
                asking["command line"]("recommend", {"vector": path})

    def test_what_is_embedded_can_be_asked_with(self, asking, tmp_path: Path) -> None:
        vector, _ = asking["HTTP"]("embed", {"history": [*TRACKS]})
        asked, _ = asking["Python"]("recommend", {"vector": vector, "deny": [*TRACKS]})
        told, _ = asking["Python"]("recommend", {"history": [*TRACKS]})
        assert [one for one, _ in asked] == [one for one, _ in told]


@pytest.mark.parametrize("audio", ["no base64!", "bm8gc291bmQ="])
def test_a_posted_sound_that_is_none(client: TestClient, audio: str) -> None:
    answer = client.post("/similar", json={"audio": audio})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("audio: ")
    assert "/tmp" not in answer.json()["error"]


def test_a_new_content_has_neighbours_without_a_content(client: TestClient) -> None:
    answer = client.post("/similar", json={"metadata": {"genres": ["folk"]}, "k": 1}).json()
    assert answer["content"] is None
    assert [item["reasons"] for item in answer["items"]] == [[]]
