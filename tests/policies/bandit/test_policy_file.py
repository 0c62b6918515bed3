"""Policies on disk: complete or absent, opened without pickle, rolled back by moving the link."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import environment
from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.errors import UserError
from towers.manifest import digest_of, digest_of_file
from towers.policies.bandit.policy_file import (
    ABOUT,
    CARDS,
    CURRENT,
    STATE,
    built,
    described,
    open_policy,
    roll_back,
    serve_version,
    version_folder,
    versions_of,
    write_policy,
)
from towers.policies.bandit.uniform import Uniform


class Counting(Uniform):
    """Counts its outcomes, and holds another policy."""

    def __init__(self, seen: int = 0, inner: Uniform | None = None):
        super().__init__(slots=2, policy_id="counting")
        self.seen, self.inner = np.array([seen]), inner

    def settings(self) -> dict[str, Any]:
        return {"seen": 0, "inner": None if self.inner is None else described(self.inner)}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        return super().select(context, candidates, generator)

    def update(self, outcomes: Outcomes) -> None:
        self.seen = self.seen + len(outcomes)

    def state(self) -> dict[str, np.ndarray]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if "seen" not in state:
            raise ValueError("seen is missing")
        self.seen = state["seen"]


@pytest.fixture
def _in_our_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the class above count as one of the package."""
    monkeypatch.setattr("towers.policies.bandit.policy_file.ROOM", __name__)


def write(folder: Path, seen: int = 0, **more: Any) -> Path:
    given: dict[str, Any] = {"space_id": "space", "update": seen, "learned_from": {"rows": seen}} | more
    return write_policy(folder, Counting(seen, Uniform(slots=5)), **given)


def changed(version: Path, **fields: Any) -> None:
    """Writes other fields into a version, with valid digests."""
    about = json.loads((version / ABOUT).read_text()) | fields
    about["files"] = {name: digest_of_file(version / name) for name in (STATE, CARDS)}
    about["digest"] = digest_of({name: value for name, value in about.items() if name != "digest"})
    (version / ABOUT).write_text(json.dumps(about))


@pytest.mark.usefixtures("_in_our_room")
class TestVersions:
    def test_it_comes_back_with_its_state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("towers.policies.bandit.policy_file.ROOM", "t")  # both, of the tests and of towers
        version = write(tmp_path / "p", seen=7, card_ids=["a", "b"])
        found = open_policy(tmp_path / "p", "space")
        assert (found.folder, found.version, found.update) == (version.resolve(), "000001", 7)
        assert (found.learned_from, found.card_ids) == ({"rows": 7}, ("a", "b"))
        assert found.policy.state()["seen"] == 7
        assert isinstance(found.policy, Counting)
        assert found.policy.inner is not None
        assert found.policy.inner.slots == 5

    def test_old_ones_go_and_the_current_one_stays(self, tmp_path: Path):
        for seen in range(4):
            write_policy(tmp_path / "p", Counting(seen), space_id="s", update=seen, learned_from={}, keep=2)
        assert [path.name for path in versions_of(tmp_path / "p")] == ["000003", "000004"]
        roll_back(tmp_path / "p")
        for seen in range(3):
            write_policy(
                tmp_path / "p", Counting(seen), space_id="s", update=9, learned_from={}, keep=2, becomes_current=False
            )
        assert [path.name for path in versions_of(tmp_path / "p")] == ["000003", "000006", "000007"]
        assert version_folder(tmp_path / "p").name == "000003"

    def test_rolled_back(self, tmp_path: Path):
        for seen in range(3):
            write_policy(tmp_path / "p", Counting(seen), space_id="s", update=seen, learned_from={})
        assert roll_back(tmp_path / "p").name == "000002"
        assert open_policy(tmp_path / "p").policy.state()["seen"] == 1
        assert roll_back(tmp_path / "p", "000001").name == "000001"
        with pytest.raises(UserError, match="no version before 000001 that has served is kept"):
            roll_back(tmp_path / "p")
        with pytest.raises(UserError, match="no version 000009; there are 000001, 000002, 000003"):
            roll_back(tmp_path / "p", "000009")
        write_policy(tmp_path / "p", Counting(8), space_id="s", update=1, learned_from={})
        assert version_folder(tmp_path / "p").name == "000004"

    def test_rolled_back_to_what_has_served_alone(self, tmp_path: Path):
        """The second version was refused: it exists, and has never been the current one."""
        for seen, serves in enumerate((True, False, False)):
            write_policy(
                tmp_path / "p", Counting(seen), space_id="s", update=seen, learned_from={}, becomes_current=serves
            )
        assert serve_version(tmp_path / "p", "000003").name == "000003"
        assert roll_back(tmp_path / "p").name == "000001"
        with pytest.raises(UserError, match="no version before 000001 that has served"):
            roll_back(tmp_path / "p")
        with pytest.raises(UserError, match="no version 7; there are"):
            serve_version(tmp_path / "p", "7")

    def test_a_damaged_one_is_not_rolled_back_to(self, tmp_path: Path):
        first = write_policy(tmp_path / "p", Counting(0), space_id="s", update=0, learned_from={})
        write_policy(tmp_path / "p", Counting(1), space_id="s", update=1, learned_from={})
        (first / STATE).write_bytes(b"")
        with pytest.raises(UserError, match=r"state\.npz: changed"):
            roll_back(tmp_path / "p")
        assert version_folder(tmp_path / "p").name == "000002"


@pytest.mark.usefixtures("_in_our_room")
class TestRefusals:
    @pytest.fixture
    def version(self, tmp_path: Path) -> Path:
        return write_policy(tmp_path / "p", Counting(3), space_id="space", update=1, learned_from={})

    def refused(self, version: Path, said: str, space_id: str | None = None) -> None:
        with pytest.raises(UserError, match=said) as error:
            open_policy(version.parent, space_id)
        assert "\n" not in str(error.value)

    def test_nothing_there(self, tmp_path: Path):
        self.refused(tmp_path / "nowhere" / "v", "no policy here")

    def test_another_space(self, version: Path):
        self.refused(version, "chooses by space space, but these vectors are of other", "other")

    @pytest.mark.parametrize("name", [STATE, CARDS])
    @pytest.mark.parametrize("spoil", ["cut", "remove", "turn"])
    def test_a_damaged_file(self, version: Path, name: str, spoil: str):
        path = version / name
        whole = path.read_bytes()
        if spoil == "remove":
            path.unlink()
        else:
            path.write_bytes(whole[:-3] if spoil == "cut" else whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        self.refused(version, f"{name}: (changed|missing)")

    def test_a_changed_description(self, version: Path):
        about = json.loads((version / ABOUT).read_text())
        (version / ABOUT).write_text(json.dumps(about | {"update": 99}))
        self.refused(version, r"policy\.json: changed since it was written")
        (version / ABOUT).write_text('{"format": 1')
        self.refused(version, r"policy\.json: not valid JSON")

    def test_another_format(self, version: Path):
        changed(version, format=2)
        self.refused(version, "is a policy of format 2; this Towers reads format 1")

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("os.system", "is no class of"),
            (7, "is no class of"),
            (f"{__name__}.Nothing", "no class .*Nothing in this Towers"),
            (f"{__name__}.nowhere.Nothing", "no class .*Nothing in this Towers"),
            (f"{__name__}.changed", "is no class"),
            (f"{__name__}.TestVersions", "is no policy"),
        ],
    )
    def test_another_class(self, version: Path, target: Any, said: str):
        changed(version, policy={"_target_": target})
        self.refused(version, said)

    def test_settings_that_it_does_not_take(self, version: Path):
        changed(version, policy=described(Counting()) | {"speed": 3})
        self.refused(version, "cannot be built with these settings .*speed")

    def test_a_pickle_within_the_state(self, version: Path):
        np.savez(version / STATE, seen=np.array([{"a": 1}], dtype=object))
        changed(version)
        self.refused(version, "the state does not fit its policy")

    def test_objects_are_not_written(self, tmp_path: Path):
        policy = Counting()
        policy.seen = np.array([{"a": 1}], dtype=object)
        with pytest.raises(ValueError, match="seen: an array of objects"):
            write_policy(tmp_path / "q", policy, space_id="s", update=0, learned_from={})
        assert versions_of(tmp_path / "q") == []

    def test_a_state_of_another_policy(self, version: Path):
        np.savez(version / STATE, heard=np.zeros(2))
        changed(version)
        self.refused(version, "the state does not fit its policy .seen is missing")

    def test_what_is_built_within(self):
        with pytest.raises(UserError, match=r"where: 'os\.system' is no class of"):
            built(described(Counting()) | {"inner": {"_target_": "os.system"}}, "where")


WRITING = """
import sys
from pathlib import Path
from towers.policies.bandit.policy_file import write_policy
from towers.policies.bandit.uniform import Uniform

for update in range(10_000):
    write_policy(Path(sys.argv[1]), Uniform(slots=update + 1), space_id="s", update=update, learned_from={}, keep=3)
    print(update, flush=True)
"""


def kill_while_writing(folder: Path, updates: int) -> int:
    """Kills the process that writes versions after so many; returns the last one that it reported."""
    command = [sys.executable, "-c", WRITING, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(updates)]
        os.kill(process.pid, signal.SIGKILL)
        return int([*told, *process.stdout.readlines()][-1])


@pytest.mark.unhooked
def test_a_kill_between_two_updates_leaves_a_whole_state(tmp_path: Path):
    for updates in (1, 4):
        folder = tmp_path / str(updates)
        told = kill_while_writing(folder, updates)
        found = open_policy(folder)
        assert found.update in (told, told + 1)
        assert found.policy.slots == found.update + 1
        write_policy(folder, Uniform(slots=2), space_id="s", update=0, learned_from={}, keep=3)
        assert open_policy(folder).policy.slots == 2
        assert not [path for path in folder.iterdir() if path.name.endswith(".partial") and path.name != f".{CURRENT}"]
