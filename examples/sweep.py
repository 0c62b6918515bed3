"""A sweep with Optuna over a validation metric, through the Python API.

    pip install 'towers-rec[train]' optuna
    python examples/sweep.py --trials 20 experiment=catalogue audio_encoder=none logger=csv

Trials stand in an SQLite file beside the runs: a sweep that was stopped goes on, its cut-off trial first and from where
its run stood, and several processes share one. A trial that was finished before costs nothing: a run's folder follows
from its settings. Change `suggested` for other keys.
"""

import argparse
from pathlib import Path

import optuna

from towers.api import train
from towers.manifest import read_json


def suggested(trial: optuna.Trial) -> list[str]:
    """The overrides of one trial."""
    return [
        f"optimizer.lr={trial.suggest_float('lr', 5e-4, 5e-3, log=True):.6f}",
        f"optimizer.id_lr={trial.suggest_float('id_lr', 1e-3, 3e-2, log=True):.6f}",
        f"user_tower.dropout={trial.suggest_float('dropout', 0.1, 0.4):.3f}",
    ]


def main() -> None:
    """Runs the trials and prints the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="trials to run now")
    parser.add_argument("--storage", type=Path, default=Path("sweep.db"), help="where trials are kept")
    parser.add_argument("--study", default="sweep", help="name in the storage")
    arguments, overrides = parser.parse_known_args()

    def value(trial: optuna.Trial) -> float:
        """The best validation of a run, by trainer.monitor."""
        try:
            folder = train(*overrides, *suggested(trial))
        except SystemExit:  # stopped by a signal; everything is saved
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
            raise
        trial.set_user_attr("folder", str(folder))
        best = read_json(folder / "finished.json")["best"]
        if best is None:
            raise SystemExit("validation has too few listeners to compare trials by; lower evaluation.min_users")
        return float(best)

    study = optuna.create_study(
        study_name=arguments.study,
        storage=f"sqlite:///{arguments.storage}",
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(value, n_trials=arguments.trials)
    best = study.best_trial
    print(f"best: {best.value:.4f} with {best.params}, {best.user_attrs['folder']}")


if __name__ == "__main__":
    main()
