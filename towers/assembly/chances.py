"""Ranking of a run's or an export's contents by the chance of a listen."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from towers.assembly.judged import judged_run
from towers.assembly.run import Run
from towers.assembly.subject import Subject
from towers.errors import DataLacks
from towers.evaluation.chance_fit import fit_chance
from towers.evaluation.listening import Listening
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.chances import ChanceScorer
from towers.retrieval.listen_chance import ListenChance

FOLDS = 2


def chance_scorer(
    subject: Subject,
    protocol: EvaluationProtocol,
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    stores: Path,
) -> ChanceScorer:
    """Returns a scorer of the protocol's listeners, by models that have not seen the events that they are judged by.

    For the test period, an export has its own model, and that of a run is fitted on validation. For the validation
    period, each half of the listeners is judged by a model fitted on the other half.

    Args:
        subject: run or export.
        protocol: protocol of the evaluation.
        users: vectors of the protocol's listeners.
        contents: vectors by row of the subject's store.
        stores: folder of all prepared stores.

    Raises:
        DataLacks: there is no model, and none can be fitted.
    """
    models, fold_of = _models(subject, protocol, contents, stores)
    folds = fold_of[protocol.task.user_rows]
    return ChanceScorer(protocol.task, Listening(protocol.store, protocol.period), users, contents, models, folds)


def _models(
    subject: Subject, protocol: EvaluationProtocol, contents: Float[np.ndarray, "contents dim"], stores: Path
) -> tuple[list[ListenChance], Int[np.ndarray, " users"]]:
    """Returns the models, and for each listener of the store the index of the model to judge by."""
    vectors, one = subject.vectors, np.zeros(protocol.store.histories.num_users, np.int64)

    def users(rows: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users dim"]:
        return vectors.user_vectors(rows, contents, "validation")

    if protocol.period == "validation":
        if subject.provenance.has_seen_validation:
            raise DataLacks("validation was trained on")
        fold_of = np.random.default_rng(0).permutation(len(one)) % FOLDS
        folds = [np.flatnonzero(fold_of != fold) for fold in range(FOLDS)]
        return [fit_chance(protocol.store, contents, users, among=among) for among in folds], fold_of
    if not isinstance(vectors, Run):
        model = vectors.export.listen_chance
        if model is None:
            raise DataLacks(f"{subject.folder} has no model of it")
        return [model], one
    judged = judged_run(vectors, stores)
    if judged is vectors:
        return [fit_chance(protocol.store, contents, users)], one
    own = judged.content_vectors()
    return [fit_chance(judged.store, own, lambda rows: judged.user_vectors(rows, own, "validation"))], one
