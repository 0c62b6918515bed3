"""A night's evidence made by hand: a few listeners with figures, and all other inputs of the rules."""

from dataclasses import replace

import numpy as np

from towers.data.profiling.verdict import Verdict as DataVerdict
from towers.evaluation.checks.honesty import Check
from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.result import Evaluation, SliceResult
from towers.lifecycle.gate.evidence import Canaries, Evidence, Exported, Judged, Reached, Window

METRIC = "recall@20"
LISTENERS = 400
WINDOW = Window(store="f00d", period="test", start_us=1_000, candidates="c0ffee", num_candidates=100)
BEFORE = Check(name="trained before test", passed=True, detail="on another store until the day before")
HONEST = (Check(name="what lists hold", passed=True, detail="none wrong"),)
MANIFEST = {
    "version": "20260714-001-aa",
    "counts": {"users": 1000, "contents": 500},
    "index_recall@10": 0.99,
    "towers": {
        "user_tower.onnx": {"difference": 1e-7, "inputs": "32 listeners"},
        "content_tower.onnx": {"difference": 5e-4, "by_rounding": 6e-4},
        "user_tower.int8.onnx": {"file": "user_tower.int8.onnx", "overlap@20": 0.995, "size_bytes": 1},
    },
}
DRIFT = {
    "drift": {"neighbour_overlap": 0.8, "cosine_after_map": 0.95},
    "keeps_space": True,
    "reason": "old listeners find enough",
}


def some(seed=0, mean=0.4, size=LISTENERS):
    """Draws figures of listeners between 0 and 1 about a mean."""
    return np.clip(np.random.default_rng(seed).normal(mean, 0.1, size), 0, 1)


DAYS = {"day__2026-07-01": some(5), "day__2026-07-02": some(6)}


def evaluation(values, *, name="towers", coverage=0.5, bias=2.0, min_users=10, **slices):
    """Makes an evaluation with `values` on all, discovery and familiar; further slices by name, `history__0` for
    `history:0`.
    """
    values = np.asarray(values, np.float64)
    columns = {"all": values, "discovery": values, "familiar": values}
    columns |= {key.replace("__", ":"): np.asarray(each, np.float64) for key, each in slices.items()}
    return Evaluation(
        ranker=name,
        user_rows=np.arange(len(values)),
        slices={
            key: SliceResult(positions=np.arange(len(each)), values={METRIC: each}) for key, each in columns.items()
        },
        min_users=min_users,
        lists={"unseen": Ranked(rows=np.zeros((len(values), 1), np.int32), scores=np.ones((len(values), 1)))},
        catalogue={"coverage@20/discovery": coverage, "popularity_bias@20/discovery": bias},
    )


def twin(values, name="tonight", **slices):
    return Judged(
        name=name, window=WINDOW, evaluation=evaluation(values, **slices), trained_before=BEFORE, checks=HONEST
    )


def night(challenger=None, champion=None, is_first_night=False, **changes):
    """Returns a good night: both twins alike, nothing missing. `changes` replace parts of the evidence."""
    challenger = twin(some()) if challenger is None else challenger
    if not is_first_night:
        champion = twin(some(), "champion", **DAYS) if champion is None else champion
    poor = some(mean=0.1)
    names = ("popularity", "most played yesterday", "own most-played")
    found = Evidence(
        stage="served",
        twin=challenger,
        champion=champion,
        is_first_night=is_first_night,
        baselines={name: evaluation(poor, name=name) for name in names},
        main_metric=METRIC,
        data=DataVerdict(compared_with="0ld", findings=()),
        reached=changes["reached"] if "reached" in changes else Reached.of(champion, METRIC),
        refit=challenger,
        exported=Exported(
            manifest=MANIFEST,
            norms=(1.0, 1.0),
            drift=DRIFT,
            champion=MANIFEST,
            vanished={"contents": 0.0, "listeners": 0.01},
        ),
        canaries=Canaries(asked=50, failed=0, overlap=0.6),
        more="towers evaluate compare=[runs/a,runs/b]",
    )
    return replace(found, **changes)


def first_night(**changes):
    """Returns a night before which no version serves."""
    exported = Exported(manifest=MANIFEST, norms=(1.0, 1.0))
    canaries = Canaries(asked=50, failed=0)
    parts = {"is_first_night": True, "reached": None, "exported": exported, "canaries": canaries}
    return night(**parts | changes)
