"""1, 2 and 3 processes and micro-batches: one gradient of a step, one refresh, for every objective and with sound."""

import contextlib
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.rank_process import SOUNDS_AT_ONCE
from towers.data.training_batches import Share
from towers.training.embed import refresh_audio
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient

pytestmark = pytest.mark.unhooked

OBJECTIVES = (
    "exact_softmax", "sampled_softmax", "sampled_softmax_uniform", "sampled_softmax_uniform_corrected",
    "sampled_softmax_popularity", "logq_softmax", "streaming_softmax", "gbce",
)  # fmt: skip
GROUPS = ((2, 1), (3, 1), (2, 4))
"""Number of processes, and of micro-batches of each."""


@pytest.fixture(scope="module")
def cases(make_learner, make_objective, make_data):
    """By objective, a function that makes its learner and one step's batches for some ranks and micro-batches."""
    keywords = {"num_rejections": 2, "rejection_weight": 0.5, "mask_heard": True, "mask_unavailable": True}

    def learner(name):
        extra = {} if name == "gbce" else keywords
        return make_learner(dropout=0.0, objective=make_objective(name, **extra))

    def batches(objective, ranks, micro_batches=1):
        shares = [Share(rank=rank, ranks=ranks, micro_batches=micro_batches) for rank in range(ranks)]
        return [next(iter(make_data(objective, share=share, max_tokens=1_000).training(1))) for share in shares]

    return {name: (partial(learner, name), batches) for name in OBJECTIVES}


@pytest.fixture(scope="module")
def alone(cases):
    """Loss, gradients and fresh sounds of one process in one go."""
    found = {}
    for name, (make, batches) in cases.items():
        learner = make()
        found[name] = gradient(learner, batches(learner.objective, 1)[0])
    return found


def gradient(learner, batch):
    loss, fresh = accumulate_gradient(learner, batch, Processes(Share()), contextlib.nullcontext())
    return loss, {name: parameter.grad for name, parameter in learner.named_parameters()}, fresh.vectors


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found[2], expected[2])
    for name, wanted in expected[1].items():
        torch.testing.assert_close(
            found[1][name], wanted, atol=1e-6, rtol=1e-4, msg=lambda text, name=name: name + text
        )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_eight_micro_batches(cases, alone, name):
    make, batches = cases[name]
    learner = make()
    (batch,) = batches(learner.objective, 1, micro_batches=8)
    assert len(batch.micro_batches) == 8
    assert_same(gradient(learner, batch), alone[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_process_against_the_plain_formula_in_float64(cases, alone, name):
    """The whole network in float64 and one call of backward: no sharing, no gathering, no caching."""
    make, batches = cases[name]
    learner = make().double()
    (batch,) = batches(learner.objective, 1)
    (micro,) = batch.micro_batches
    fresh = learner.two_tower.audio_encoder(batch.fresh_spectrograms.double())
    contents = learner.table.batch(batch.content_rows).with_audio(batch.fresh_index, fresh)
    vectors = learner.two_tower.encode_contents(contents)
    states = learner.two_tower.encode_states(micro.histories, vectors, micro.targets.position)
    log_q = learner.objective.observe(batch)
    loss = learner.objective(states, vectors, log_q, micro) / batch.total_weight
    loss.backward()
    torch.testing.assert_close(alone[name][0].double(), loss.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(alone[name][2].double(), fresh.detach(), atol=1e-5, rtol=1e-5)
    for key, parameter in learner.named_parameters():
        torch.testing.assert_close(
            alone[name][1][key].double(), parameter.grad, atol=2e-6, rtol=1e-3, msg=lambda text, key=key: key + text
        )


@pytest.fixture(scope="module")
def groups(cases, world_store, tmp_path_factory):
    """A folder for each number of processes and of micro-batches, with the results of each process."""
    folder = tmp_path_factory.mktemp("groups")
    for ranks, micro_batches in GROUPS:
        made = {}
        for name, (make, batches) in cases.items():
            learner = make()
            made[name] = learner, batches(learner.objective, ranks, micro_batches)
        group = folder / f"{ranks}-{micro_batches}"
        group.mkdir()
        (group / "cases.pickle").write_bytes(pickle.dumps((made, np.array(world_store.spectrograms.records))))
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.rank_process", str(folder)], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module", params=GROUPS)
def together(request, groups):
    """Results of each of several processes, each with several micro-batches."""
    ranks, micro_batches = request.param
    return [torch.load(groups / f"{ranks}-{micro_batches}" / f"found{rank}.pt") for rank in range(ranks)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_several_processes(together, alone, name):
    for found in together:
        assert_same(found["steps"][name], alone[name])


@pytest.fixture
def one_thread():
    """Sets torch to one thread, as in the processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_several_processes_refresh_the_same_table(together, cases, world_store, one_thread, monkeypatch):
    """The table equals that of one process, bit for bit; with 23 sounds in portions of 5, some rank's last portion is
    short or empty.
    """
    monkeypatch.setattr("towers.training.embed.SOUNDS_AT_ONCE", SOUNDS_AT_ONCE)
    make, _ = cases[OBJECTIVES[-1]]
    learner, records = make(), world_store.spectrograms.records
    alone = Processes(Share())
    expected = [refresh_audio(learner.two_tower, learner.table, records, alone).figures() for _ in range(2)]
    assert len(records) % (SOUNDS_AT_ONCE * len(together))
    for found in together:
        assert torch.equal(found["table"]["_audio_vectors"], learner.table.state_dict()["_audio_vectors"])
        assert found["staleness"] == expected
    assert expected[1] == {"audio/staleness": 0, "audio/staleness_max": 0}
