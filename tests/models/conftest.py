"""A small two-tower network and histories to feed it."""

import pytest
import torch

NUM_CONTENTS, DIM, AUDIO_DIM, COUNTRIES, CONTEXTS = 12, 16, 6, 4, 3
VOCABULARY_SIZES = {"genres": 7, "kind": 4}


@pytest.fixture
def content_tower():
    from towers.models.content_tower import ContentTower
    from towers.models.rows import WHOLE

    torch.manual_seed(0)
    return ContentTower(
        vocabulary_sizes=VOCABULARY_SIZES,
        audio_dim=AUDIO_DIM,
        is_audio_standardised=False,
        num_events=(torch.arange(NUM_CONTENTS) < 8).long(),
        rows=WHOLE,
        dim=DIM,
        hidden_dim=32,
        part_dropout=0.5,
        id_dropout=0.5,
        id_min_events=1,
        dropout=0.3,
    ).eval()


@pytest.fixture
def user_tower():
    from towers.models.user_tower import UserTower

    torch.manual_seed(1)
    return UserTower(
        user_vocabulary_sizes=(COUNTRIES,),
        num_contexts=CONTEXTS,
        content_dim=DIM,
        dim=32,
        num_layers=2,
        num_heads=2,
        dropout=0.3,
    ).eval()


@pytest.fixture
def two_tower(content_tower, user_tower):
    from towers.models.audio.encoder import NoAudioEncoder, SoundStatistics
    from towers.models.two_tower import TwoTower

    return TwoTower(NoAudioEncoder(SoundStatistics.of_none(4)), content_tower, user_tower).eval()


@pytest.fixture
def contents():
    """All contents: codes and sound at random, some without."""
    from towers.batch import ContentBatch

    generator = torch.Generator().manual_seed(2)
    has_audio = torch.arange(NUM_CONTENTS) % 3 > 0
    return ContentBatch(
        rows=torch.arange(NUM_CONTENTS),
        parts={
            part: torch.randint(0, size, (NUM_CONTENTS, 3), generator=generator)
            for part, size in VOCABULARY_SIZES.items()
        },
        audio=torch.randn(NUM_CONTENTS, AUDIO_DIM, generator=generator) * has_audio[:, None],
        has_audio=has_audio,
    )


@pytest.fixture
def content_vectors(content_tower, contents):
    return content_tower(contents).detach()


@pytest.fixture
def make_histories():
    """Returns a function that draws histories of given lengths; the padding to `width` does not change the draws."""
    from towers.batch import HistoryBatch
    from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS

    def make(lengths, width=None, seed=0):
        width = max(lengths) if width is None else width
        generator = torch.Generator().manual_seed(seed)

        def codes(size):
            drawn = torch.randint(0, size, (len(lengths), max(lengths)), generator=generator)
            return torch.nn.functional.pad(drawn, (0, width - max(lengths)))

        padding = torch.arange(width) >= torch.tensor(lengths)[:, None]
        return HistoryBatch(
            content_index=codes(NUM_CONTENTS).masked_fill(padding, -1),
            action=codes(NUM_ACTIONS).masked_fill(padding, 0),
            elapsed=codes(NUM_ELAPSED_BUCKETS).masked_fill(padding, 0),
            played=codes(NUM_PLAYED_BUCKETS).masked_fill(padding, 0),
            context=codes(CONTEXTS).masked_fill(padding, 0),
            padding_mask=padding,
            user_codes=torch.randint(0, COUNTRIES, (len(lengths), 1), generator=generator),
        )

    return make
