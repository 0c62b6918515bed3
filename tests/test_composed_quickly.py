from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.composed_quickly import files_parsed_once
from towers.config.composing import composed


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A folder with one group of a caller's own."""
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "mine.yaml").write_text("temperature: 0.1\n")
    return tmp_path


def of(groups: Path) -> DictConfig:
    return composed("train", ["objective=mine"], str(groups))


def test_it_composes_the_same(groups: Path) -> None:
    with files_parsed_once():
        first, again = of(groups), of(groups)
    assert first == again
    assert first.objective == {"temperature": 0.1}
    first.objective.temperature = 0.2
    with files_parsed_once():
        assert of(groups) == again


def test_what_a_caller_does_to_a_configuration_stays_his(groups: Path) -> None:
    with files_parsed_once():
        of(groups).objective.temperature = 0.3
        assert of(groups).objective.temperature == 0.1


def test_a_file_that_changes_is_parsed_again(groups: Path) -> None:
    with files_parsed_once():
        of(groups)
        (groups / "objective" / "mine.yaml").write_text("temperature: 0.7\n")
        assert of(groups).objective.temperature == 0.7
        (groups / "objective" / "mine.yaml").write_text("temperature: [")
        with pytest.raises(Exception, match=r"mine\.yaml"):
            of(groups)
