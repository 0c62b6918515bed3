"""Metrics in a file that survives a restart."""

import csv

import pytest

from towers.training.loggers import CsvLogger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def steps(path):
    return [int(row["step"]) for row in rows(path)]


def log(path, *numbers, **metrics):
    logger = CsvLogger(path)
    for number in numbers:
        logger.log_metrics({"loss": number / 2, **metrics}, step=number)
        logger.save()
    return logger


def test_one_row_a_step(path):
    log(path, 0, 1, 2)
    assert rows(path) == [{"step": str(step), "loss": str(step / 2)} for step in range(3)]


def test_a_new_column_is_empty_in_the_rows_before(path):
    logger = log(path, 0)
    logger.log_metrics({"recall": 0.5}, step=1)
    logger.save()
    assert rows(path) == [{"step": "0", "loss": "0.0", "recall": ""}, {"step": "1", "loss": "", "recall": "0.5"}]


def test_a_resumed_run_cuts_back_to_its_step_and_appends(path):
    log(path, 0, 10, 20, 30)
    logger = CsvLogger(path)
    logger.cut_back(2)
    for step in (20, 30, 40):
        logger.log_metrics({"loss": 7.0}, step=step)
    logger.finalize("success")
    assert steps(path) == [0, 10, 20, 30, 40]
    assert [row["loss"] for row in rows(path)] == ["0.0", "5.0", "7.0", "7.0", "7.0"]


def test_without_a_cut_it_appends(path):
    log(path, 0, 1)
    log(path, 2, 3)
    assert steps(path) == [0, 1, 2, 3]


def test_a_row_that_a_kill_cut_short_is_dropped(path):
    log(path, 0, 1)
    path.write_bytes(path.read_bytes().removesuffix(b",0.5\r\n"))
    logger = CsvLogger(path)
    logger.cut_back(1)
    logger.log_metrics({"loss": 1.0}, step=2)
    logger.save()
    assert steps(path) == [0, 2]


def test_cutting_back_what_is_not_there_does_nothing(path):
    CsvLogger(path).cut_back(0)
    assert not path.exists()


def test_nothing_logged_writes_nothing(path):
    CsvLogger(path).finalize("success")
    assert not path.exists()
