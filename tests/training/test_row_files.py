"""Rows beside a checkpoint: written and read by one process in the place of several; files that would run code are
refused.
"""

import errno
import io
import pickle
import shutil

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING
from torch.distributed.tensor import DTensor, Shard

from towers.disk import DiskFull
from towers.errors import UserError
from towers.models.rows import mesh_of_all
from towers.training.checkpoints import HAS_DELTA, ids_of_unfinished, load_unfinished, load_weights
from towers.training.row_files import ROWS, _DescriptionsAlone
from towers.training.strategy import AtomicFiles

pytestmark = pytest.mark.unhooked
NAME = "learner.two_tower.content_tower._id_delta.weight"


@pytest.fixture(autouse=True)
def one_rank(tmp_path):
    """A group of one process, whose tables count as divided."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
    mesh_of_all.cache_clear()


def save(path, number, signature="run"):
    rows = torch.full((5, 3), float(number))
    spread = DTensor.from_local(rows, mesh_of_all("cpu", 1), [Shard(0)])
    state = {"state_dict": {NAME: spread, "learner.other": torch.ones(2)}, "loops": {}, "epoch": number}
    AtomicFiles(signature).save_checkpoint(state, path)
    assert state["state_dict"][NAME] is spread  # a table in use stays as it is


def test_is_read_as_a_whole(tmp_path):
    save(tmp_path / "last.ckpt", 7)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"][NAME] is None
    found = load_unfinished(tmp_path / "last.ckpt", "run")
    assert ROWS not in found
    assert torch.equal(found["state_dict"][NAME], torch.full((5, 3), 7.0))
    assert set(load_weights(tmp_path / "last.ckpt")) == {NAME.removeprefix("learner."), "other"}


def test_says_whose_ids_have_a_delta_before_it_is_read(tmp_path):
    """A run whose listeners are forgotten goes on with the rows that it has written."""
    assert ids_of_unfinished(tmp_path) is None
    has_delta = torch.tensor([True, False, True])
    state = {"state_dict": {f"learner.{HAS_DELTA}": has_delta}, "loops": {}}
    AtomicFiles("run").save_checkpoint(state, tmp_path / "last.ckpt")
    assert torch.equal(ids_of_unfinished(tmp_path), has_delta)


def test_what_is_saved_next_takes_its_place(tmp_path):
    for number in range(3):
        save(tmp_path / "last.ckpt", number)
        save(tmp_path / "best.ckpt", 10 + number)
    assert len(list(tmp_path.glob("*.rows-*"))) == 2
    assert load_weights(tmp_path / "last.ckpt")["two_tower.content_tower._id_delta.weight"][0, 0] == 2
    assert load_weights(tmp_path / "best.ckpt")["two_tower.content_tower._id_delta.weight"][0, 0] == 12


@pytest.mark.parametrize("place", ["towers.training.row_files.save", "towers.training.strategy.save_checkpoint"])
def test_a_kill_in_the_middle_leaves_the_one_before(tmp_path, monkeypatch, place):
    """The kill comes before the rows are there, or after them but before the file."""
    save(tmp_path / "last.ckpt", 1)

    def die(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(place, die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path / "last.ckpt", 2)
    assert load_weights(tmp_path / "last.ckpt")["two_tower.content_tower._id_delta.weight"][0, 0] == 1
    save(tmp_path / "last.ckpt", 3)
    assert len(list(tmp_path.glob("*.rows-*"))) == 1
    assert load_weights(tmp_path / "last.ckpt")["two_tower.content_tower._id_delta.weight"][0, 0] == 3


def test_rows_that_are_gone_are_named(tmp_path):
    save(tmp_path / "last.ckpt", 1)
    shutil.rmtree(tmp_path / "last.rows-1")
    with pytest.raises(UserError, match=r"last\.rows-1: the rows that last\.ckpt names cannot be read"):
        load_weights(tmp_path / "last.ckpt")


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_file_that_is_gone_or_cut_off_is_told_in_one_line(tmp_path, is_cut):
    save(tmp_path / "last.ckpt", 1)
    (file,) = (tmp_path / "last.rows-1").glob("*.distcp")
    if is_cut:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    with pytest.raises(UserError, match=r"cannot be read, as a file is missing or broken; .*delete both"):
        load_weights(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError()]
)
def test_want_of_memory_does_not_advise_to_delete(tmp_path, monkeypatch, error):
    save(tmp_path / "last.ckpt", 1)

    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr("towers.training.row_files._Reader.read_data", fail)
    with pytest.raises(type(error)):
        load_weights(tmp_path / "last.ckpt")


def test_a_disk_that_does_not_answer_is_no_reason_to_delete(tmp_path, monkeypatch):
    save(tmp_path / "last.ckpt", 1)

    def fail(*arguments, **keywords):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("towers.training.row_files._Reader.read_data", fail)
    with pytest.raises(UserError, match="cannot be read now: Input/output error; mend that"):
        load_weights(tmp_path / "last.ckpt")


def test_a_full_disk_is_told_and_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path / "last.ckpt", 1)

    def fail(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("torch.distributed.checkpoint.filesystem._write_item", fail)
        with pytest.raises(DiskFull, match=r"last\.rows-2: no space left"):
            save(tmp_path / "last.ckpt", 2)
    assert not list(tmp_path.glob(".*.partial"))
    assert load_weights(tmp_path / "last.ckpt")["two_tower.content_tower._id_delta.weight"][0, 0] == 1


def test_what_others_have_put_beside_it_is_not_touched(tmp_path):
    """A copy that a user has made neither stops a save nor is lost by it."""
    save(tmp_path / "last.ckpt", 1)
    shutil.copytree(tmp_path / "last.rows-1", tmp_path / "last.rows-old")
    save(tmp_path / "last.ckpt", 2)
    assert {path.name for path in tmp_path.glob("last.rows-*")} == {"last.rows-2", "last.rows-old"}


def test_another_runs_are_not_read(tmp_path):
    save(tmp_path / "last.ckpt", 1)
    shutil.rmtree(tmp_path / "last.rows-1")
    with pytest.raises(UserError, match="belongs to the run run, not other"):
        load_unfinished(tmp_path / "last.ckpt", "other")


class Evil:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (exec, (f"import pathlib; pathlib.Path({str(self.folder)!r}, 'ran').touch()",))


class Attribute:
    """An object that is pickled as an attribute of another one."""

    def __init__(self, of, name):
        self.of, self.name = of, name

    def __reduce__(self):
        return (getattr, (self.of, self.name))


def test_a_member_of_an_enumeration_may_be_pickled_as_an_attribute():
    """Python 3.11.0 to 3.11.3 pickles it in this way."""
    (member, *_) = _MEM_FORMAT_ENCODING
    told = pickle.dumps(Attribute(_MEM_FORMAT_ENCODING, member.name))
    assert _DescriptionsAlone(io.BytesIO(told)).load() is member


@pytest.mark.parametrize("told", [Evil, lambda folder: Attribute(torch.Size, "__init__")], ids=["call", "attribute"])
def test_no_code_is_run(tmp_path, told):
    save(tmp_path / "last.ckpt", 1)
    (tmp_path / "last.rows-1" / ".metadata").write_bytes(pickle.dumps(told(tmp_path)))
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tmp_path / "last.ckpt")
    assert not (tmp_path / "ran").exists()
