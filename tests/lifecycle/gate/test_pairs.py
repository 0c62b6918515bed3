"""The margin: closed forms, its two error rates, and properties that hold for any figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.gate.small_night import METRIC, evaluation, night, some, twin
from towers.evaluation.result import Evaluation, SliceResult
from towers.lifecycle.gate.evidence import Lacking
from towers.lifecycle.gate.gate import SMALLEST_LOSS, outcome_of
from towers.lifecycle.gate.pairs import Paired, paired, quantile
from towers.lifecycle.gate.rules.quality import MainMetric

figures = st.lists(st.floats(0, 1), min_size=12, max_size=30)


def judged(rule, challenger, champion):
    return outcome_of("main_metric", rule, night(twin(challenger), twin(champion, "champion")))


def test_quantile_of_one_and_of_several():
    assert quantile(0.05) == pytest.approx(1.6449, abs=1e-4)
    # None of 10 independent figures in 95 % of cases: each in 0.95^(1/10).
    z = quantile(0.05, 10)
    draws = np.random.default_rng(0).normal(size=(200_000, 10))
    assert (draws < -z).any(axis=1).mean() == pytest.approx(0.05, abs=0.002)


def test_the_error_is_that_of_the_mean_difference():
    first, second = some(1), some(2)
    pair = paired(evaluation(first), evaluation(second), [METRIC])[METRIC]
    assert pair.difference == pytest.approx((first - second).mean())
    assert pair.error == pytest.approx((first - second).std() / np.sqrt(len(first)), rel=0.06)
    assert pair.sigma(0.0) == pair.error
    assert pair.sigma(0.03) == pytest.approx(np.hypot(pair.error, 0.03 * pair.before))


def test_both_rates():
    """Challengers as good as the champion are refused in 5 % of nights; those worse by twice the margin pass in 5 %."""
    generator, nights, listeners, deviation, noise = np.random.default_rng(0), 4000, 150, 0.1, 0.01
    margin = quantile(0.05) * np.hypot(deviation / np.sqrt(listeners), noise * 0.4)
    refused = {0: 0, 1: 0}
    for _ in range(nights):
        differences = generator.normal(0, noise * 0.4) + generator.normal(0, deviation, listeners)
        for planted in refused:
            after = float(0.4 + (differences - planted * 2 * margin).mean())
            error = float(differences.std() / np.sqrt(listeners))
            pair = Paired(key=METRIC, before=0.4, after=after, low=0.0, high=0.0, error=error, listeners=listeners)
            refused[planted] += pair.difference < -quantile(0.05) * pair.sigma(noise)
    assert refused[0] / nights == pytest.approx(0.05, abs=0.01)
    assert 1 - refused[1] / nights == pytest.approx(0.05, abs=0.01)


def test_the_smallest_loss_is_twice_the_margin():
    rule = MainMetric(seed_noise={"all": 0.01}, max_margin=1.0)
    champion = some(3)
    found = judged(rule, champion, champion)
    # The same figures: nothing but the seed's noise is left.
    assert found.figures[SMALLEST_LOSS] == pytest.approx(2 * quantile(0.05) * 0.01)
    assert found.limit == pytest.approx(-quantile(0.05) * 0.01 * champion.mean())


@pytest.mark.parametrize(("loss", "status"), [(0.019, "passed"), (0.021, "refused")])
def test_a_margin_of_ones_own_is_a_share(loss, status):
    champion = some(4)
    assert judged(MainMetric(margin=0.02), champion * (1 - loss), champion).status == status


def test_too_few_listeners_to_see_a_loss_are_refused():
    rule = MainMetric(max_margin=0.001)
    found = judged(rule, some(5), some(6))
    assert found.status == "refused"
    assert "gate.rules.main_metric.max_margin" in found.words
    assert "show no loss below" in found.words


@settings(max_examples=12, deadline=None)
@given(figures, st.floats(0, 0.5), st.sampled_from([None, 0.0, 0.05]), st.randoms())
def test_worse_is_never_accepted_where_better_was_refused(champion, loss, margin, random):
    """At the smallest margin, worse means worse by the same for every listener, so that the error stays as it is."""
    rule = MainMetric(seed_noise={"all": 0.01}, margin=margin, max_margin=1e9)
    better = np.array([random.random() for _ in champion])
    champion = np.array(champion) + 0.01
    statuses = [judged(rule, values, champion).status for values in (better, better - loss)]
    assert statuses != ["refused", "passed"]


@settings(max_examples=12, deadline=None)
@given(figures, st.integers(0, 2**31))
def test_a_margin_of_ones_own_is_monotone_listener_by_listener(champion, seed):
    generator, champion = np.random.default_rng(seed), np.array(champion) + 0.01
    better = generator.random(len(champion))
    worse = better * generator.random(len(champion))
    statuses = [judged(MainMetric(margin=0.05), values, champion).status for values in (better, worse)]
    assert statuses != ["refused", "passed"]


@settings(max_examples=12, deadline=None)
@given(figures, st.randoms())
def test_the_order_of_listeners_changes_nothing(values, random):
    champion = np.array(values) + 0.01
    challenger = np.array([random.random() for _ in values])
    order = list(range(len(values)))
    random.shuffle(order)

    def shuffled(values) -> Evaluation:
        whole = evaluation(values)
        moved = {
            name: SliceResult(positions=result.positions, values={METRIC: result.values[METRIC][order]})
            for name, result in whole.slices.items()
        }
        return replace(whole, user_rows=whole.user_rows[order], slices=moved)

    asked = evaluation(challenger), evaluation(champion), [METRIC, f"{METRIC}/discovery"]
    found = paired(*asked)
    assert paired(shuffled(challenger), shuffled(champion), asked[2]) == found


@pytest.mark.parametrize("place", [0, 7])
def test_what_is_not_a_number_is_no_figure(place):
    odd = some(7)
    odd[place] = np.nan
    with pytest.raises(Lacking, match="not a number for 1 listeners"):
        paired(evaluation(some(7)), evaluation(odd), [METRIC])


def test_other_listeners_are_not_compared():
    with pytest.raises(Lacking, match="not evaluated on the same listeners"):
        paired(evaluation(some(1)), evaluation(some(1, size=399)), [METRIC])


def test_a_figure_that_one_lacks_is_not_compared():
    one = evaluation(some(1), cold_content=some(1))
    with pytest.raises(Lacking, match="cold_content"):
        paired(evaluation(some(1)), one, [f"{METRIC}/cold_content"])
