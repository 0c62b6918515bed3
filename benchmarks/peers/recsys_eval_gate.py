"""Runs the promotion gate of recsys-eval 0.2 on the nights of `gate_rates.py`: in an environment of its own.

    python -m venv .venv-peers-gate && .venv-peers-gate/bin/pip install recsys-eval numpy
    python benchmarks/nightly/gate_rates.py --values values.npz
    .venv-peers-gate/bin/python benchmarks/peers/recsys_eval_gate.py values.npz

For every ordered pair of seeds, as it comes and with a loss planted (all listeners lose the same share of their
figure):
the share that is promoted, with its default (point comparison, a drop of 2 % is noise) and with its paired bootstrap.
Then what it makes of input that is broken.
"""

import argparse
import itertools
import logging
from collections.abc import Callable, Mapping

import numpy as np
from recsys_eval import Decision, GatePolicy, GateResult, run_gate
from recsys_eval.gate import decide
from recsys_eval.scoring import Scores

KEY = "recall@20"
LOSSES = (0.0, 0.02, 0.04, 0.08, 0.2)
RESAMPLES = 200


def scores(values: np.ndarray) -> Scores:
    """A ranker's figures as the gate takes them."""
    per_user = tuple(values.tolist())
    mean = float(np.mean(values)) if len(values) else float("nan")
    return Scores(
        values={KEY: mean}, scored_users=len(values), users=tuple(range(len(values))), per_user={KEY: per_user}
    )


def decided(challenger: np.ndarray, champion: np.ndarray, resamples: int | None) -> GateResult:
    """Returns its verdict on two arrays of listeners' figures."""
    policy = GatePolicy(gated_metrics=(KEY,), bootstrap_samples=resamples)
    return decide(scores(challenger), scores(champion), policy=policy)


def promoted(seeds: np.ndarray, loss: float, resamples: int | None) -> float:
    """Share of the ordered pairs that it ships."""
    pairs = itertools.permutations(seeds, 2)
    return float(np.mean([decided(first * (1 - loss), second, resamples).promoted for first, second in pairs]))


def outcome(ask: Callable[[], GateResult]) -> str:
    """Returns its decision and whether it ships, or the error."""
    try:
        result = ask()
    except Exception as error:  # the question is how it ends
        return f"raises {type(error).__name__}"
    return f"{result.decision.value}{', ships' if result.promoted else ''}"


def broken(figures: np.ndarray) -> dict[str, str]:
    """Prints its reaction to broken input."""
    odd, few, none = figures.copy(), figures[:20], figures[:0]
    odd[0] = np.nan

    class Failing:
        """A ranker whose evaluation fails."""

        def prepare(self, candidates):
            raise RuntimeError("the index cannot be read")

        def rank(self, user, k, exclude):
            return []

    def of_failing() -> GateResult:
        return run_gate(Failing(), Failing(), None, policy=GatePolicy(gated_metrics=(KEY,)))

    return {
        "a challenger with NaN, point": outcome(lambda: decided(odd, figures, None)),
        "a challenger with NaN, bootstrap": outcome(lambda: decided(odd, figures, RESAMPLES)),
        "a challenger of NaN alone, point": outcome(lambda: decided(figures * np.nan, figures, None)),
        "a champion with NaN, point": outcome(lambda: decided(figures, odd, None)),
        "nobody was evaluated": outcome(lambda: decided(none, none, None)),
        "20 listeners, challenger without a hit": outcome(lambda: decided(few * 0, few, None)),
        "a champion without a hit": outcome(lambda: decided(figures, figures * 0, None)),
        "both without a hit": outcome(lambda: decided(figures * 0, figures * 0, None)),
        "the evaluation fails": outcome(of_failing),
    }


def tell(values: Mapping[str, np.ndarray]) -> None:
    """Prints all of it."""
    for name, seeds in values.items():
        for told, resamples in (("default", None), (f"bootstrap_samples={RESAMPLES}", RESAMPLES)):
            shares = ", ".join(f"{promoted(seeds, loss, resamples):.0%} of those {loss:.0%} worse" for loss in LOSSES)
            print(f"{name}, {seeds.shape[1]:,} listeners, {told}: promotes {shares}")
    for what, found in broken(next(iter(values.values()))[0]).items():
        print(f"{what}: {found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", help="written by gate_rates.py --values")
    logging.disable(logging.CRITICAL)  # it tells every decision
    assert Decision.UNGATED  # promoted, too
    with np.load(parser.parse_args().values, allow_pickle=False) as found:
        tell({name: found[name] for name in found.files})
