"""Mistakes in how `towers serve` is called: one line, before anything is served."""

import pytest

from tests.service.conftest import GOLDEN
from towers.commands import serve
from towers.config.composing import compose
from towers.errors import UserError


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("export=nowhere", "no export here"),
        ("audio_root=nowhere", "audio_root=nowhere: no such folder"),
        ("verify=perhaps", "verify=perhaps: must be one of manifest, full"),
        ("port=70000", "port=70000: must be from 0"),
        ("port=http", "port='http': must be int"),
        ("host=203.0.113.1", "host=203.0.113.1, port=8000: cannot listen there"),
        ("workers=0", "workers=0: must be above 0"),
        ("threads=-1", "threads=-1: must be above 0"),
        ("watch_s=0", "watch_s=0.0: must be above 0"),
        ("limits.max_k=0", "limits: max_k=0: must be at least 1"),
        ("+limits.max_q=1", "limits.max_q: unknown"),
        ("home.policy=nowhere", "nowhere: no policy here; write one with `towers home action=train`"),
    ],
)
def test_mistakes(argument: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        serve.run(compose("serve", [f"export='{GOLDEN}'", argument]))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["host=0.0.0.0", "home.log=log"], "home.token: host=0.0.0.0 listens on more than this machine"),
        (["home.wait_s=0"], "home: wait_s=0.0: must be above 0"),
        (["home.token=' '"], "home: token: is empty"),
        (["home.shelves.shelves=[]"], "home.shelves: shelves=[]: give at least one"),
        (["+home.speed=1"], "home.speed: unknown"),
    ],
)
def test_mistakes_of_a_home_page(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        serve.run(compose("serve", [f"export='{GOLDEN}'", "home.policy=policies/home", *arguments]))
    assert said in str(refused.value)
