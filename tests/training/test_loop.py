"""Two epochs on the tiny world: the loss falls, a seed fixes every bit, every part learns, and a stop costs nothing."""

import csv
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from towers.data.datamodule import UserBatches
from towers.errors import UserError
from towers.training.checkpoints import BEST, LAST, alone_in
from towers.training.embed import embed_contents, embed_users
from towers.training.frequency import StreamingFrequency, StreamingLogQSoftmax
from towers.training.negatives import InBatchAndUniform
from towers.training.stopping import Stopped

NOT_REPEATED = ("seconds", "core_seconds")
"""Columns that a second run cannot have the same figures in."""


def mean_loss(learner, data):
    """Over one epoch's batches, without dropout."""
    learner.eval()
    losses = []
    with torch.no_grad():
        for batch in data.training():
            if batch.epoch:
                break
            vectors = learner.two_tower.encode_contents(learner.table.batch(batch.content_rows))
            (micro,) = batch.micro_batches
            states = learner.two_tower.encode_states(micro.histories, vectors, micro.targets.position)
            loss = learner.objective(states, vectors, batch.candidate_log_q, micro) / batch.total_weight
            losses.append(loss.item())
    learner.train()
    return float(np.mean(losses))


def tensors(loop):
    return {name: tensor.clone() for name, tensor in loop._learner.state_dict().items()}


def assert_equal_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name not in NOT_REPEATED} for row in found]


@pytest.fixture(scope="module")
def trained(make_loop, make_data, tmp_path_factory):
    """Two epochs."""
    folder = tmp_path_factory.mktemp("run")
    loop = make_loop(folder)
    assert not loop.resume()
    data = make_data(loop._learner.objective)
    before = mean_loss(loop._learner, data)
    progress = loop.run()
    return SimpleNamespace(
        loop=loop, learner=loop._learner, progress=progress, folder=folder, before=before,
        after=mean_loss(loop._learner, data), tensors=tensors(loop), steps=progress.step,
    )  # fmt: skip


class TestARun:
    def test_the_loss_falls(self, trained):
        assert trained.after < 0.9 * trained.before

    def test_validation_is_logged_and_the_checkpoints_are_there(self, trained):
        assert {path.name for path in trained.folder.iterdir()} == {BEST, LAST, "metrics.csv"}
        validations = [row for row in rows(trained.folder) if row.get("validation/ndcg@5")]
        assert [row["epoch"] for row in validations] == ["1.0", "2.0"]
        assert all(0 <= float(row["validation/ndcg@5"]) <= 1 for row in validations)

    def test_the_best_checkpoint_is_the_best_validations(self, trained):
        figures = [float(row["validation/ndcg@5"]) for row in rows(trained.folder) if row.get("validation/ndcg@5")]
        assert trained.progress.best == pytest.approx(max(figures))
        assert trained.progress.best_epoch == 1 + figures.index(max(figures))
        assert torch.load(trained.folder / BEST, weights_only=True)["progress"]["best"] == trained.progress.best

    def test_checkpoints_load_without_pickles(self, trained):
        checkpoint = torch.load(trained.folder / LAST, weights_only=True)
        assert_equal_bits(checkpoint["learner"], trained.tensors)

    def test_the_same_seed_gives_the_same_bits(self, trained, make_loop, tmp_path):
        loop = make_loop(tmp_path)
        loop.resume()
        loop.run()
        assert_equal_bits(tensors(loop), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    def test_another_seed_gives_other_bits(self, make_loop, tmp_path):
        one, other = tensors(make_loop(tmp_path, 0)), tensors(make_loop(tmp_path, 1))
        assert any(not torch.equal(one[name], other[name]) for name in one)

    def test_vectors_rank_what_they_were_trained_on(self, trained, world_store):
        """No claim of quality, only that rows of vectors and rows of the store belong together."""
        histories = world_store.histories
        users = np.arange(histories.num_users)
        vectors = embed_contents(trained.learner.two_tower, trained.learner.table)
        batches = UserBatches(world_store, histories.train_end, users, max_length=20, max_tokens=200)
        scores = embed_users(trained.learner.two_tower, batches, vectors) @ vectors.numpy().T
        heard = np.zeros(scores.shape, dtype=bool)
        for user in users:
            events = slice(histories.offsets[user], histories.train_end[user])
            heard[user, histories.content_row[events][histories.is_positive[events]]] = True
        trained_rows = world_store.train_positives > 0
        assert scores[heard].mean() > scores[~heard & trained_rows].mean() + 0.02


class Killed(Exception):
    """Stands for SIGKILL where only the place counts: nothing after it is run."""


def dying_before(step):
    """Batches that end in a kill; nothing is saved by it."""

    def of(batches):
        def wrapped(epoch, number):
            for count, batch in enumerate(batches(epoch, number)):
                if count == step:
                    raise Killed
                yield batch

        return wrapped

    return of


def signalled_before(step, number):
    """Batches during which a signal arrives."""

    def of(batches):
        def wrapped(epoch, first):
            for count, batch in enumerate(batches(epoch, first)):
                if count == step:
                    os.kill(os.getpid(), number)
                yield batch

        return wrapped

    return of


def killed_in_a_child(make, save_at):
    """Runs a loop in a forked process, which saves after a step and must end by SIGKILL later on."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # a pool of threads does not live through a fork
        loop = make()
        take_step = loop._step

        def take_step_and_save(batch, stop):
            is_asked = take_step(batch, stop)
            if loop.progress.step == save_at:
                loop._save()
            return is_asked

        loop._step = take_step_and_save
        loop.resume()
        loop.run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


class TestResume:
    """Ten random steps: after a stop or a kill there, the second start ends with every bit of the run never stopped."""

    STEPS = np.random.default_rng(0).permutation(np.arange(1, 20))[:10].tolist()

    def go_on(self, make_loop, folder):
        loop = make_loop(folder)
        assert loop.resume()
        loop.loggers[0].cut_back(loop.progress.logged)
        loop.run()
        return loop

    @pytest.mark.parametrize("step", STEPS)
    def test_sigterm_saves_at_once(self, trained, make_loop, tmp_path, step):
        loop = make_loop(tmp_path, batches=signalled_before(step, signal.SIGTERM))
        loop.resume()
        with pytest.raises(Stopped) as stopped:
            loop.run()
        assert stopped.value.code == 128 + signal.SIGTERM
        assert torch.load(tmp_path / LAST, weights_only=True)["progress"]["step"] == step + 1
        assert_equal_bits(tensors(self.go_on(make_loop, tmp_path)), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    @pytest.mark.parametrize("step", STEPS)
    def test_a_kill_replays_from_the_last_checkpoint(self, trained, make_loop, tmp_path, step):
        """A process of its own dies by SIGKILL, up to nine steps after its last checkpoint."""
        save_at, epoch = max(1, step // 2), trained.steps // 2
        killed_in_a_child(lambda: make_loop(tmp_path, batches=signalled_before(step, signal.SIGKILL)), save_at)
        progress = torch.load(tmp_path / LAST, weights_only=True)["progress"]
        assert progress["step"] == (epoch if step >= epoch > save_at else save_at)
        assert_equal_bits(tensors(self.go_on(make_loop, tmp_path)), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    def test_a_kill_with_frequencies_counted_on_the_way(self, world_store, make_loop, tmp_path):
        """Estimates, steps of last sight and all: part of the checkpoint."""

        def objective():
            candidates = InBatchAndUniform(world_store.train_positives, num_uniform=8, in_batch=True)
            frequency = StreamingFrequency(num_buckets=101, num_hashes=2, rate=0.05, initial_gap=10.0)
            return StreamingLogQSoftmax(candidates, frequency, temperature=0.1, is_temperature_learned=True)

        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        never = make_loop(whole, objective=objective())
        never.resume()
        never.run()
        loop = make_loop(stopped, objective=objective(), batches=dying_before(13))
        loop.resume()
        with pytest.raises(Killed):
            loop.run()
        again = make_loop(stopped, objective=objective())
        assert again.resume()
        again.run()
        assert_equal_bits(tensors(again), tensors(never))

    def test_rows_that_are_ahead_of_the_checkpoint_are_cut(self, trained, make_loop, tmp_path):
        loop = make_loop(tmp_path, batches=dying_before(7), checkpoint_every_s=0.0)
        loop.resume()
        with pytest.raises(Killed):
            loop.run()
        loop.loggers[0].log({"loss": 99.0}, 12)
        loop.loggers[0].save()
        assert_equal_bits(tensors(self.go_on(make_loop, tmp_path)), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    def test_a_kill_during_a_validation_costs_no_step(self, trained, make_loop, tmp_path):
        def judge(*_):
            raise Killed

        loop = make_loop(tmp_path, judge=judge)
        loop.resume()
        with pytest.raises(Killed):
            loop.run()
        progress = torch.load(tmp_path / LAST, weights_only=True)["progress"]
        assert (progress["epoch"], progress["number"], progress["is_validated"]) == (1, 0, False)
        assert_equal_bits(tensors(self.go_on(make_loop, tmp_path)), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    def test_a_kill_between_the_rows_of_a_validation_and_its_checkpoint(self, trained, make_loop, tmp_path):
        loop = make_loop(tmp_path, checkpoint_every_s=0.0)
        loop.resume()
        close = loop._close_epoch

        def close_and_die():
            loop._save = dying_after_the_rows
            close()

        def dying_after_the_rows():
            loop.loggers[0].save()
            raise Killed

        loop._close_epoch = close_and_die
        with pytest.raises(Killed):
            loop.run()
        assert_equal_bits(tensors(self.go_on(make_loop, tmp_path)), trained.tensors)
        assert rows(tmp_path) == rows(trained.folder)

    def test_a_finished_run_that_goes_on_has_nothing_to_do(self, trained, make_loop):
        loop = make_loop(trained.folder)
        assert loop.resume()
        assert loop.run().step == trained.steps
        assert_equal_bits(tensors(loop), trained.tensors)

    def test_a_checkpoint_of_another_run_is_refused(self, trained, make_loop):
        with pytest.raises(UserError, match=r"last\.ckpt: belongs to the run tiny, not other"):
            make_loop(trained.folder, signature="other").resume()

    def test_a_torn_file_is_refused(self, make_loop, tmp_path):
        (tmp_path / LAST).write_bytes(b"PK\x03\x04 torn")
        with pytest.raises(UserError, match="cannot be read as a checkpoint; delete it"):
            make_loop(tmp_path).resume()


REFRESHED_EVERY = 3


@pytest.fixture(scope="module")
def refreshed(make_loop, tmp_path_factory):
    """Two epochs with scheduled refreshes."""
    folder = tmp_path_factory.mktemp("refreshed")
    loop = make_loop(folder, refresh_sounds_every_steps=REFRESHED_EVERY)
    loop.resume()
    loop.run()
    return SimpleNamespace(folder=folder, tensors=tensors(loop), steps=loop.progress.step)


class TestScheduledRefresh:
    """A full refresh of the audio memory every three steps, beside those of the validations."""

    def test_staleness_is_logged_at_each(self, refreshed, trained):
        logged = {int(row["step"]): row for row in rows(refreshed.folder) if row.get("audio/staleness")}
        ends = {refreshed.steps // 2, refreshed.steps}  # validations refresh by themselves, once
        assert set(logged) == set(range(REFRESHED_EVERY, refreshed.steps + 1, REFRESHED_EVERY)) | ends
        assert all(0 < float(row["audio/staleness"]) <= float(row["audio/staleness_max"]) for row in logged.values())
        validations = [row for row in rows(trained.folder) if row.get("audio/staleness")]
        assert [row["epoch"] for row in validations] == ["1.0", "2.0"]

    def test_training_reads_the_refreshed_table(self, refreshed, trained):
        assert refreshed.steps == trained.steps
        same = [torch.equal(refreshed.tensors[name], tensor) for name, tensor in trained.tensors.items()]
        assert not all(same)

    def test_a_refresh_more_than_once_an_epoch_that_is_not_validated(self, make_loop, tmp_path, refreshed):
        """Every epoch ends in a step that is due, the first without a validation."""
        per_epoch = refreshed.steps // 2
        loop = make_loop(tmp_path, refresh_sounds_every_steps=per_epoch, validate_every_epochs=2)
        loop.resume()
        loop.run()
        logged = [int(row["step"]) for row in rows(tmp_path) if row.get("audio/staleness")]
        assert logged == [per_epoch, 2 * per_epoch]

    @pytest.mark.parametrize("step", [2, 3, 10, 17])
    @pytest.mark.parametrize("end", [Stopped, Killed])
    def test_a_second_start_has_every_bit_of_the_first(self, refreshed, make_loop, tmp_path, step, end):
        wrapped = signalled_before(step, signal.SIGTERM) if end is Stopped else dying_before(step)
        settings = {"refresh_sounds_every_steps": REFRESHED_EVERY, "checkpoint_every_s": 0.0}
        loop = make_loop(tmp_path, batches=wrapped, **settings)
        loop.resume()
        with pytest.raises(end):
            loop.run()
        loop = make_loop(tmp_path, **settings)
        assert loop.resume()
        loop.loggers[0].cut_back(loop.progress.logged)
        loop.run()
        assert_equal_bits(tensors(loop), refreshed.tensors)
        assert rows(tmp_path) == rows(refreshed.folder)


def poisoned(bad):
    """Batches of which some have a weight that is not finite."""
    from dataclasses import replace

    def of(batches):
        def wrapped(epoch, number):
            for batch in batches(epoch, number):
                if (batch.epoch, batch.number) in bad:
                    yield replace(batch, total_weight=torch.tensor(float("nan")))
                else:
                    yield batch

        return wrapped

    return of


class TestNotFinite:
    def test_the_run_ends_before_the_weights_move_and_names_the_batch(self, make_loop, tmp_path):
        loop = make_loop(tmp_path, batches=poisoned({(0, 2)}), checkpoint_every_s=0.0)
        loop.resume()
        with pytest.raises(UserError, match=r"batch 2 of epoch 0 \(step 3\): .*not finite, so no weight was moved"):
            loop.run()
        checkpoint = torch.load(tmp_path / LAST, weights_only=True)
        assert checkpoint["progress"]["step"] == 2
        assert_equal_bits(tensors(loop), checkpoint["learner"])  # the sounds of the bad batch are not there either

    def test_a_gradient_alone_that_is_not_finite(self, make_loop, tmp_path):
        """The loss is as it should be."""
        loop = make_loop(tmp_path)
        weight = loop._learner.two_tower.user_tower._out.weight
        weight.register_hook(lambda gradient: gradient * (float("inf") if loop.progress.step == 2 else 1.0))
        loop.resume()
        before = tensors(loop)
        with pytest.raises(UserError, match=r"\(step 3\): loss \d+\.\d+, gradient norm (inf|nan): not finite"):
            loop.run()
        assert all(torch.isfinite(tensor).all() for tensor in tensors(loop).values())
        assert any(not torch.equal(tensor, before[name]) for name, tensor in tensors(loop).items())

    def test_such_batches_may_be_left_out_and_are_counted(self, make_loop, tmp_path):
        loop = make_loop(tmp_path, batches=poisoned({(0, 2), (1, 1)}), max_skipped=2)
        loop.resume()
        assert loop.run().skipped == 2
        assert all(torch.isfinite(tensor).all() for tensor in tensors(loop).values())

    def test_but_one_more_ends_the_run(self, make_loop, tmp_path):
        loop = make_loop(tmp_path, batches=poisoned({(0, 2), (1, 1)}), max_skipped=1)
        loop.resume()
        with pytest.raises(UserError, match=r"batch 1 of epoch 1 .*trainer\.max_skipped=2"):
            loop.run()


class TestEarlyStopping:
    def test_ends_after_some_validations_without_a_better_one(self, make_loop, tmp_path):
        figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
        loop = make_loop(tmp_path, judge=lambda *_: {"ndcg@5": next(figures)}, patience=2, max_epochs=5)
        loop.resume()
        progress = loop.run()
        assert (progress.epoch, progress.best, progress.best_epoch) == (4, 0.3, 2)
        assert torch.load(tmp_path / BEST, weights_only=True)["progress"]["best_epoch"] == 2

    def test_a_run_that_ended_early_does_not_go_on(self, make_loop, tmp_path):
        for _ in range(2):
            loop = make_loop(tmp_path, judge=lambda *_: {"ndcg@5": 0.5}, patience=1, max_epochs=5)
            loop.resume()
            assert loop.run().epoch == 2


def test_a_folder_belongs_to_one_process(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match="another process is training there"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_a_validation_that_is_not_finite_is_not_the_best(make_loop, tmp_path):
    figures = iter([float("nan"), 0.2])
    loop = make_loop(tmp_path, judge=lambda *_: {"ndcg@5": next(figures)})
    loop.resume()
    assert (loop.run().best, loop.progress.best_epoch) == (0.2, 2)


def test_the_csv_has_one_row_a_logged_step(trained):
    steps = [int(row["step"]) for row in rows(trained.folder)]
    assert steps == sorted(steps)
    assert steps[-1] == trained.steps
