"""Tables divided by rows: several processes give the same as one, by the gradient of a whole table."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.row_files_process import GROUPS, IDS
from tests.training.row_files_process import SOUNDS as HEARD
from tests.training.rows_process import trained
from tests.training.stops import At, Killed, die
from towers.batch import Route, rows_of_rank
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.models.rows import Divided, DividedIds, Division, Whole
from towers.training.optimizing import RowwiseAdamW
from towers.training.processes import Processes

pytestmark = pytest.mark.unhooked

STEPS = 3
DELTA, SOUNDS = "two_tower.content_tower._id_delta.weight", "table._audio_vectors"


@pytest.fixture(scope="module")
def case(make_learner, make_data, world_store):
    """Returns a learner of divided tables, its batches, and the sounds, as one of several processes has them."""

    def make(rank=0, ranks=1, rows=Divided, num_steps=STEPS, **others):
        learner = make_learner(dropout=0.0, rows=rows(rank=rank, ranks=ranks), **others)
        data = make_data(
            learner.objective, share=Share(rank=rank, ranks=ranks), max_tokens=200, tables=learner.tables()
        )  # fmt: skip
        batches = [batch for batch, _ in zip(data.training(1), range(num_steps), strict=False)]
        return learner, batches, np.array(world_store.spectrograms.records)

    return make


@pytest.fixture(scope="module")
def alone(case):
    """The result of one process."""
    return trained(*case(), Processes(Share()))


@pytest.fixture(scope="module")
def together(case, tmp_path_factory):
    """Results of each of several processes."""

    def run(ranks):
        folder = tmp_path_factory.mktemp("groups")
        group = folder / str(ranks)
        group.mkdir()
        for rank in range(ranks):
            (group / f"case{rank}.pickle").write_bytes(pickle.dumps(case(rank, ranks)))
        run_module("rows_process", folder)
        return [torch.load(group / f"found{rank}.pt") for rank in range(ranks)]

    return run


def run_module(name, folder):
    """Runs a module that starts processes, without this process's state."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.training.{name}", str(folder)], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_what_two_processes_write_any_number_reads(tmp_path):
    """Ids, moments and sounds are equal to the last bit; five rows on four ranks leave one rank without any."""
    run_module("row_files_process", tmp_path)
    found = {ranks: [torch.load(tmp_path / f"found{ranks}-{rank}.pt") for rank in range(ranks)] for ranks in GROUPS}
    (whole,) = found[1]
    assert len(whole[IDS].unique()) == whole[IDS].numel() == 15
    assert torch.equal(whole[HEARD], torch.arange(21.0).reshape(7, 3))
    assert all(whole[name].all() for name in ("exp_avg", "exp_avg_sq"))
    assert not found[4][3][IDS].numel()
    expected = torch.zeros(6, 3)
    expected[[0, 1, 3, 4, 5]] = whole[IDS]
    gradient = torch.zeros(5, 3)
    gradient[[0, 4]] = 2.0
    for each in found.values():
        for name in (IDS, HEARD, "exp_avg", "exp_avg_sq"):
            assert torch.equal(torch.cat([part[name] for part in each]), whole[name])
        assert all(torch.equal(part["everywhere"], expected) for part in each)
        assert torch.equal(torch.cat([part["gradient"] for part in each]), gradient)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_some_processes_train_as_one_does(together, alone, ranks):
    """Losses, norms, the first gradient, weights, moments and vectors of contents are equal; no rank has more than its
    share.
    """
    found = together(ranks)
    for each in found:
        for name in ("losses", "norms"):
            assert each[name] == pytest.approx(alone[name], rel=1e-4)
        for name, gradient in alone["gradients"].items():
            torch.testing.assert_close(each["gradients"][name], gradient, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(each["vectors"], alone["vectors"], atol=1e-4, rtol=0)
        assert each["staleness"] == pytest.approx(alone["staleness"], abs=1e-5)
    for name, tensor in alone["state"].items():
        if name in (DELTA, SOUNDS):
            assert max(len(each["state"][name]) for each in found) == -(-len(tensor) // ranks)
            together_ = torch.cat([each["state"][name] for each in found])
            torch.testing.assert_close(together_, tensor, atol=1e-4, rtol=0)
        else:
            for each in found:
                torch.testing.assert_close(each["state"][name], tensor, atol=1e-4, rtol=1e-3)
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(
            torch.cat([each["moments"][name] for each in found]), alone["moments"][name], atol=1e-6, rtol=1e-2
        )
    assert {each["moments"]["step"].item() for each in found} == {STEPS}
    rows, gradient = alone["rows"]
    sums = torch.zeros_like(alone["state"][DELTA]).index_add(0, rows, gradient)
    parts = torch.zeros_like(sums)
    for rank, each in enumerate(found):
        first = rows_of_rank(len(sums), rank, ranks).start
        parts.index_add_(0, each["rows"][0] + first, each["rows"][1])
    torch.testing.assert_close(parts, sums, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_that_of_a_whole_table(case, alone):
    """Rows that a step does not meet have no gradient there."""
    learner, batches, records = case(rows=Whole, num_steps=1)
    divided, _, _ = case()
    is_trained = learner.two_tower.content_tower.has_delta
    with torch.no_grad():
        learner.two_tower.content_tower._id_delta.weight[is_trained] = divided.state_dict()[DELTA]
        for name, tensor in divided.state_dict().items():
            if name != DELTA:
                learner.state_dict()[name].copy_(tensor)
    found = trained(learner, batches, records, Processes(Share()))
    assert found["losses"][0] == pytest.approx(alone["losses"][0], rel=1e-6)
    assert found["norms"][0] == pytest.approx(alone["norms"][0], rel=1e-6)
    rows, gradient = alone["rows"]
    expected = found["gradients"][DELTA][is_trained]
    torch.testing.assert_close(torch.zeros_like(expected).index_add(0, rows, gradient), expected, atol=1e-8, rtol=1e-5)
    assert len(rows) == len(rows.unique())


def test_a_run_of_one_process_goes_on_with_the_same_bits(make_run, tmp_path):
    rows = Divided(rank=0, ranks=1)
    whole = make_run(tmp_path / "whole", rows=rows)
    whole.train()
    killed = make_run(
        tmp_path / "killed", rows=rows, callbacks=[At("on_train_batch_end", 12, die)], checkpoint_every_s=0.0
    )
    with pytest.raises(Killed):
        killed.train()
    again = make_run(tmp_path / "killed", rows=rows)
    again.train()
    assert again.module.is_restored
    expected = whole.tensors()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.tensors().items())
    moments = [run.trainer.optimizers[0].state_dict()["state"] for run in (whole, again)]
    for place, state in moments[0].items():
        assert all(torch.equal(value, moments[1][place][name]) for name, value in state.items())


@pytest.mark.parametrize(("num_rows", "ranks"), [(7, 2), (8, 4), (5, 4), (1, 3), (0, 2)])
def test_rows_stand_where_torch_puts_them(num_rows, ranks):
    whole = torch.arange(float(num_rows))[:, None]
    chunks = [chunk for chunk in whole.chunk(ranks) if len(chunk)]
    chunks += [whole[:0]] * (ranks - len(chunks))  # as Shard does
    for rank, chunk in enumerate(chunks):
        assert torch.equal(Division(num_rows=num_rows, rank=rank, ranks=ranks).part(whole), chunk)


def test_a_part_does_not_hold_the_whole():
    part = Division(num_rows=1000, rank=1, ranks=2).part(torch.zeros(1000, 8))
    assert part.untyped_storage().nbytes() == part.nbytes


def test_a_table_of_another_length_is_not_cut():
    """Otherwise contents would get the rows of their neighbours."""
    with pytest.raises(UserError, match="has 3 rows where 2 are expected"):
        Division(num_rows=2, rank=0, ranks=1).part(torch.zeros(3, 1))


def test_first_values_do_not_depend_on_the_number_of_ranks(monkeypatch):
    monkeypatch.setattr("towers.models.rows.ROWS_DRAWN_AT_ONCE", 4)

    def drawn(rank, ranks):
        torch.manual_seed(0)
        return Divided(rank=rank, ranks=ranks).ids(torch.ones(11, dtype=torch.bool), 3).weight

    whole = drawn(0, 1)
    assert len(whole.unique()) == 33
    for ranks in (2, 3, 5):
        assert torch.equal(torch.cat([drawn(rank, ranks) for rank in range(ranks)]), whole)


class TestRowwiseAdamW:
    """The optimiser beside torch's own, on a table of five rows of which each step meets some."""

    MET = ([0, 2], [2, 3], [0, 1, 2, 3, 4], [2])

    @pytest.fixture
    def table(self):
        torch.manual_seed(0)
        return DividedIds(torch.ones(5, dtype=torch.bool), 3, Division(num_rows=5, rank=0, ranks=1)).train()

    def step(self, optimizer, table, rows, scale=1.0):
        rows = torch.tensor(rows, dtype=torch.int64)
        owned = table.weight.index_select(0, rows).requires_grad_()
        owned.grad = scale * torch.randn(owned.shape, generator=torch.Generator().manual_seed(len(rows)))
        table._met = [(rows, owned)]
        optimizer.step()
        optimizer.zero_grad()
        return rows, owned.grad

    def optimizer(self, table, decay=0.0):
        dense = torch.nn.Linear(2, 2)
        groups = [{"params": list(dense.parameters())}]
        return RowwiseAdamW(groups, table, 0.01, 0.1, decay, (0.9, 0.99))

    def test_without_decay_it_is_sparse_adam(self, table):
        twin = torch.nn.Parameter(table.weight.detach().clone())
        ours, theirs = self.optimizer(table), torch.optim.SparseAdam([twin], lr=0.1, betas=(0.9, 0.99))
        for met in self.MET:
            rows, gradient = self.step(ours, table, met)
            twin.grad = torch.sparse_coo_tensor(rows[None], gradient, twin.shape, check_invariants=False)
            theirs.step()
        torch.testing.assert_close(table.weight, twin, atol=1e-6, rtol=1e-5)

    def test_where_all_rows_are_met_it_is_adamw(self, table):
        twin = torch.nn.Parameter(table.weight.detach().clone())
        ours = self.optimizer(table, decay=0.5)
        theirs = torch.optim.AdamW([twin], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5, fused=True)
        for _ in range(3):
            _, twin.grad = self.step(ours, table, [0, 1, 2, 3, 4])
            theirs.step()
        assert torch.equal(table.weight, twin)

    def test_rows_that_are_not_met_stay(self, table):
        before = table.weight.detach().clone()
        self.step(self.optimizer(table, decay=0.5), table, [1])
        is_same = (table.weight == before).all(dim=1)
        assert is_same.tolist() == [True, False, True, True, True]

    def test_passes_by_where_a_card_says_that_the_gradient_is_not_finite(self, table):
        optimizer = self.optimizer(table)
        self.step(optimizer, table, [1])
        before, moments = table.weight.detach().clone(), optimizer.state[table.weight]["exp_avg"].clone()
        optimizer.found_inf = torch.ones(())
        for rows in ([1, 2], []):
            self.step(optimizer, table, rows, scale=float("nan"))
        assert torch.equal(table.weight, before)
        assert torch.equal(optimizer.state[table.weight]["exp_avg"], moments)
        assert optimizer.state[table.weight]["step"] == 1

    def test_gradients_of_several_looks_add_up(self, table):
        contents = torch.tensor([0, 3])
        for rows in (contents, torch.tensor([3])):
            route = Route.of(rows.numpy(), 5, 0, 1)
            (table(rows, route).sum() * len(rows)).backward()
        rows, gradient = table.gradient()
        assert rows.tolist() == [0, 3]
        assert gradient.tolist() == [[2.0] * 3, [3.0] * 3]
