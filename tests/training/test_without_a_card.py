import pytest
import torch
from tests.training.card import Card, WrongDevice, HostWaits
pytestmark = pytest.mark.unhooked

class Everything:
    def __contains__(self, x): return True

def test_fit(make_run, tmp_path):
    card = Card()
    card._known = Everything()
    with card:
        run = make_run(tmp_path, accelerator="gpu", precision="auto", refresh_sounds_every_steps=3)
        run.train()
    print(card.waits, card.dtypes)
    assert 0
