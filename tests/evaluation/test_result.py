import numpy as np
import pytest

from towers.evaluation.result import Evaluation, SliceResult, metric_key, split_key


def evaluation(values, *, min_users=1, catalogue=None):
    """Makes an evaluation with one slice, `discovery`."""
    values = {name: np.asarray(figures, dtype=np.float64) for name, figures in values.items()}
    size = len(next(iter(values.values())))
    found = SliceResult(positions=np.arange(size), values=values)
    return Evaluation(
        ranker="ranker",
        user_rows=np.arange(2000),
        slices={"discovery": found},
        min_users=min_users,
        catalogue=catalogue or {},
    )


def test_keys_name_their_slice_unless_it_is_all():
    assert metric_key("recall@20", "all") == "recall@20"
    for slice_name in ("all", "cold_content", "history:10-49"):
        assert split_key(metric_key("ndcg@10", slice_name)) == ("ndcg@10", slice_name)


def test_means_leave_out_listeners_without_a_figure():
    found = evaluation({"recall@20": [0, 1, 1], "novelty@20": [np.nan, 2, 5], "diversity@20": [np.nan] * 3})
    assert found.means() == {"recall@20/discovery": 2 / 3, "novelty@20/discovery": 7 / 2}


def test_figures_of_the_catalogue_stand_beside_the_means():
    catalogue = {"coverage@20/discovery": 1 / 4, "coverage@20/familiar": 1 / 2}
    assert evaluation({"recall@20": [1]}, catalogue=catalogue).means() == {
        "recall@20/discovery": 1,
        "coverage@20/discovery": 1 / 4,  # no listener is in familiar
    }


def test_a_slice_too_small_has_no_figure():
    found = evaluation({"recall@20": [0, 1]}, min_users=3, catalogue={"coverage@20/discovery": 1 / 4})
    assert found.means() == {}
    assert found.counts == {"discovery": 2}
    with pytest.raises(ValueError, match="no figure 'recall@20/discovery'"):
        found.figures("recall@20/discovery")


def test_a_metric_defined_for_too_few_has_no_figure():
    """One of the hundred listeners in the slice has a figure."""
    few = evaluation({"recall@20": [1] * 100, "calibration_genre@20": [3.7] + [np.nan] * 99}, min_users=100)
    assert few.means() == {"recall@20/discovery": 1}
    with pytest.raises(ValueError, match="no figure 'calibration_genre@20/discovery'"):
        few.figures("calibration_genre@20/discovery")
