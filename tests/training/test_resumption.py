"""A run that is stopped or killed anywhere ends, after a second start, with every bit of one that was never stopped."""

import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging

from tests.training.conftest import assert_same_run
from tests.training.stops import PLACES, At, Killed, die, killed_in_a_child, signalled
from towers.errors import UserError
from towers.training.objectives.frequency import StreamingFrequency, StreamingLogQSoftmax
from towers.training.objectives.negatives import InBatchAndUniform
from towers.training.run_folder import LAST
from towers.training.stopping import SIGNALS, Stopped

REFRESHED = {"refresh_sounds_every_steps": 3, "checkpoint_every_s": 0.0}


def where(folder):
    return torch.load(folder / LAST, weights_only=True)["progress"]


def go_on(make_run, folder, whole, **settings):
    run = make_run(folder, **settings)
    run.train()
    assert run.module.is_restored
    assert_same_run(run, whole)
    return run


class TestSignals:
    @pytest.mark.parametrize(("number", "step"), [*zip(SIGNALS, (0, 5, 12), strict=True)])
    def test_the_step_is_ended_and_saved(self, trained, make_run, tmp_path, number, step):
        run = make_run(tmp_path, callbacks=[At("on_train_batch_start", step, signalled(number))])
        before = {other: signal.getsignal(other) for other in SIGNALS}
        with pytest.raises(Stopped) as stopped:
            run.train()
        assert stopped.value.code == 128 + number
        assert where(tmp_path)["step"] == step + 1
        assert {other: signal.getsignal(other) for other in SIGNALS} == before
        go_on(make_run, tmp_path, trained)

    @pytest.mark.parametrize("place", ["on_train_batch_start", "on_validation_batch_end", "on_save_checkpoint"])
    def test_at_a_place(self, trained, make_run, tmp_path, place):
        """The place is in the last epoch: also at its end, and then nothing is left to train."""
        step = trained.steps - 1 if "validation" in place or place == "on_train_epoch_end" else trained.steps // 2
        with pytest.raises(Stopped):
            make_run(tmp_path, callbacks=[At(place, step, signalled(signal.SIGTERM))]).train()
        go_on(make_run, tmp_path, trained)

    def test_the_second_one_of_the_terminal_is_not_waited_for(self, make_run, tmp_path):
        callbacks = [At("on_train_batch_start", 4, signalled(signal.SIGINT)),
                     At("on_before_optimizer_step", 4, signalled(signal.SIGINT))]  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            make_run(tmp_path, callbacks=callbacks).train()
        assert not (tmp_path / LAST).exists()


class TestKills:
    @pytest.mark.parametrize(
        ("place", "step"),
        [("on_before_optimizer_step", 5), ("on_validation_start", 10), ("on_save_checkpoint", 5)],
    )
    def test_at_a_place(self, trained, make_run, tmp_path, place, step):
        """Each place is tried at one step; `TestHundreds` has all of them."""
        run = make_run(tmp_path, callbacks=[At(place, step, die)], checkpoint_every_s=0.0)
        with pytest.raises(Killed):
            run.train()
        assert_same_run_after(make_run, tmp_path, trained)

    @pytest.mark.parametrize("step", np.random.default_rng(0).permutation(np.arange(6, 20))[:1].tolist())
    def test_steps_since_the_last_checkpoint_are_taken_again(self, trained, make_run, tmp_path, step):
        """A process of its own dies by SIGKILL, some steps after those of its checkpoint."""
        with pytest.raises(Stopped):
            make_run(tmp_path, callbacks=[At("on_train_batch_start", 2, signalled(signal.SIGTERM))]).train()
        kill = At("on_train_batch_start", step, signalled(signal.SIGKILL))
        killed_in_a_child(lambda: make_run(tmp_path, callbacks=[kill]).train())
        assert where(tmp_path)["step"] == (3 if step < trained.steps // 2 else trained.steps // 2)
        go_on(make_run, tmp_path, trained)

    def test_before_a_validation_all_is_saved(self, trained, make_run, tmp_path):
        """The validation may take longer than a scheduler waits."""

        def judge(*_):
            raise Killed

        with pytest.raises(Killed):
            make_run(tmp_path, judge=judge).train()
        progress = where(tmp_path)
        assert (progress["epoch"], progress["number"], progress["is_validated"]) == (1, 0, False)
        go_on(make_run, tmp_path, trained)

    @pytest.mark.parametrize("step", [2, 5])
    def test_with_some_batches_of_each_epoch(self, make_run, tmp_path, step):
        few = {"limit_train_batches": 4, "checkpoint_every_s": 0.0}
        never = whole_run(make_run(tmp_path / "whole", **few))
        with pytest.raises(Killed):
            make_run(tmp_path / "killed", callbacks=[At("on_train_batch_start", step, die)], **few).train()
        go_on(make_run, tmp_path / "killed", never, **few)

    def test_rows_that_are_ahead_of_the_checkpoint_are_cut(self, trained, make_run, tmp_path):
        run = make_run(tmp_path, callbacks=[At("on_train_batch_start", 7, die)], checkpoint_every_s=0.0)
        with pytest.raises(Killed):
            run.train()
        (csv,) = run.trainer.loggers
        csv.log_metrics({"loss": 99.0}, 12)
        csv.save()
        go_on(make_run, tmp_path, trained)

    def test_frequencies_counted_on_the_way(self, world_store, make_run, tmp_path):
        """The checkpoint holds the estimates and the steps of last sight."""

        def objective():
            candidates = InBatchAndUniform(world_store.train_positives, num_uniform=8, in_batch=True)
            frequency = StreamingFrequency(num_buckets=101, num_hashes=2, rate=0.05, initial_gap=10.0)
            return StreamingLogQSoftmax(candidates, frequency, temperature=0.1, is_temperature_learned=True)

        never = whole_run(make_run(tmp_path / "whole", objective=objective()))
        stopped = tmp_path / "stopped"
        with pytest.raises(Killed):
            make_run(stopped, objective=objective(), callbacks=[At("on_train_batch_end", 13, die)]).train()
        go_on(make_run, stopped, never, objective=objective())

    def test_with_averaged_weights(self, make_run, tmp_path):
        """The weights are averaged by Lightning's own callback, as a recipe may ask for it."""

        def averaging():
            return EMAWeightAveraging(use_buffers=False, decay=0.9)

        whole = whole_run(make_run(tmp_path / "whole", callbacks=[averaging()]))
        with pytest.raises(Killed):
            make_run(tmp_path / "killed", callbacks=[averaging(), At("on_train_batch_end", 13, die)]).train()
        go_on(make_run, tmp_path / "killed", whole, callbacks=[averaging()])

    @pytest.mark.unhooked
    def test_with_a_process_that_builds_batches(self, trained, make_run, tmp_path):
        with pytest.raises(Killed):
            make_run(
                tmp_path, callbacks=[At("on_train_batch_end", 13, die)], checkpoint_every_s=0.0, num_workers=1
            ).train()
        go_on(make_run, tmp_path, trained, num_workers=1)


def assert_same_run_after(make_run, folder, whole, **settings):
    """Continues the run in a folder, or begins it anew if no checkpoint is there, and checks that it equals the whole
    one.
    """
    run = make_run(folder, **settings)
    run.train()
    assert_same_run(run, whole)


def whole_run(run):
    run.train()
    return SimpleNamespace(tensors=run.tensors(), rows=run.rows(), steps=run.module.progress.step)


@pytest.fixture(scope="module")
def refreshed(make_run, tmp_path_factory):
    """A run of two epochs with a full refresh of the audio memory every three steps, beside those of the
    validations.
    """
    return whole_run(make_run(tmp_path_factory.mktemp("refreshed"), **REFRESHED))


class TestScheduledRefresh:
    def test_staleness_is_logged_at_each(self, refreshed, trained):
        logged = {int(row["step"]): row for row in refreshed.rows if row["audio/staleness"]}
        ends = {refreshed.steps // 2, refreshed.steps}  # validations refresh by themselves, once
        assert set(logged) == set(range(3, refreshed.steps + 1, 3)) | ends
        assert all(0 < float(row["audio/staleness"]) <= float(row["audio/staleness_max"]) for row in logged.values())
        assert [row["epoch"] for row in trained.rows if row["audio/staleness"]] == ["1.0", "2.0"]

    def test_training_reads_the_refreshed_table(self, refreshed, trained):
        assert refreshed.steps == trained.steps
        assert not all(torch.equal(refreshed.tensors[name], tensor) for name, tensor in trained.tensors.items())

    def test_a_refresh_more_than_once_an_epoch_that_is_not_validated(self, make_run, tmp_path, refreshed):
        """Every epoch ends in a step with a refresh, the first without a validation."""
        per_epoch = refreshed.steps // 2
        run = make_run(tmp_path, refresh_sounds_every_steps=per_epoch, validate_every_epochs=2)
        run.train()
        assert [int(row["step"]) for row in run.rows() if row["audio/staleness"]] == [per_epoch, 2 * per_epoch]

    @pytest.mark.parametrize(("step", "act"), [(3, die), (17, signalled(signal.SIGTERM))])
    def test_a_second_start_has_every_bit_of_the_first(self, refreshed, make_run, tmp_path, step, act):
        with pytest.raises((Killed, Stopped)):
            make_run(tmp_path, callbacks=[At("on_train_batch_start", step, act)], **REFRESHED).train()
        go_on(make_run, tmp_path, refreshed, **REFRESHED)


class TestWhatIsNotGoneOnWith:
    def test_a_finished_run_that_goes_on_has_nothing_to_do(self, trained, make_run):
        run = make_run(trained.folder)
        assert run.train().step == trained.steps
        assert_same_run(run, trained)

    def test_a_checkpoint_of_another_run(self, trained, make_run):
        with pytest.raises(UserError, match=r"last\.ckpt: belongs to the run tiny, not other"):
            make_run(trained.folder, signature="other").train()

    def test_a_torn_file(self, make_run, tmp_path):
        (tmp_path / LAST).write_bytes(b"PK\x03\x04 torn")
        with pytest.raises(UserError, match="cannot be read as a checkpoint; delete it"):
            make_run(tmp_path).train()

    def test_a_checkpoint_of_before_lightnings_trainer(self, make_run, tmp_path):
        state = {"signature": "tiny", "learner": {}, "optimizer": {}, "progress": {"step": 3}, "has_ended": False}
        torch.save(state, tmp_path / LAST)
        with pytest.raises(UserError, match=r"written by an earlier version of towers.*or delete .* to start anew"):
            make_run(tmp_path).train()


@pytest.mark.slow
class TestHundreds:
    """Interruptions at every place after every step, by a signal and by a kill: some 800 ends."""

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("step", range(20))
    @pytest.mark.parametrize("every_s", [0.0, 1e9])
    @pytest.mark.parametrize("act", [die, signalled(signal.SIGTERM)])
    def test_an_end(self, refreshed, make_run, tmp_path, place, step, every_s, act):
        settings = {**REFRESHED, "checkpoint_every_s": every_s}
        try:
            make_run(tmp_path, callbacks=[At(place, step, act)], **settings).train()
        except (Killed, Stopped):
            assert_same_run_after(make_run, tmp_path, refreshed, **settings)
