"""An export, opened: what serving reads. Knows no torch.

`search` finds contents in it, by the rule of `query`.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.contract import schema
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.retrieval import files
from towers.retrieval.artists import artist_rows
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export_files import ExportFiles
from towers.retrieval.files import mapped_array, mapped_table
from towers.retrieval.long_term import LongTerm
from towers.retrieval.mixture import Mixture
from towers.retrieval.playlists import Playlists
from towers.retrieval.regions import Regions
from towers.retrieval.sound_likeness import SoundLikeness
from towers.retrieval.styles import Styles


class Export(ExportFiles):
    """One version of an export: its files, and what lists of contents are made with.

    Each part is read when it is first asked for; what is null is not in exports of older formats.
    """

    @cached_property
    def co_listening(self) -> Neighbours | None:
        """The nearest of each content by who chose it; null before format 4."""
        path = self.folder / files.CO_LISTENING
        return Neighbours.read(path) if path.exists() else None

    @cached_property
    def recordings(self) -> Int[np.ndarray, " contents"] | None:
        """Row of the first content of the same recording, itself when alone: remasters and duplicates share one;
        null before format 4."""
        path = self.folder / files.RECORDINGS
        return mapped_array(path) if path.exists() else None

    @cached_property
    def mixture(self) -> Mixture | None:
        """The learnt mixture of what speaks for a content that is new to somebody; null where none could be fitted, and
        before format 4."""
        path = self.folder / files.MIXTURE
        return Mixture.read(path, self.space_id) if path.exists() else None

    @cached_property
    def styles(self) -> Styles | None:
        """How contents divide among kinds and genres; null before format 4."""
        path = self.folder / files.STYLES
        return Styles.read(path) if path.exists() else None

    @cached_property
    def regions(self) -> Regions | None:
        """The named regions of the space; null before format 4."""
        path = self.folder / files.REGIONS
        return Regions.read(path) if path.exists() else None

    @cached_property
    def long_term(self) -> LongTerm | None:
        """What a listen of each content is worth later; null where the log was too short for that, and before
        format 5."""
        path = self.folder / files.LONG_TERM
        return LongTerm.read(path, self.space_id) if path.exists() else None

    def known_long_term(self) -> LongTerm:
        """The same for whoever needs it; raises `UserError` where there is none."""
        if self.long_term is None:
            told = self.manifest.get("long_term", {"reason": "it was made before exports said so"})
            raise UserError(
                f"{self.folder}: does not say what a listen is worth later: {told['reason']}; export a run whose "
                "training period is longer, or do without"
            )
        return self.long_term

    @cached_property
    def artist_rows(self) -> Ragged:
        """Per content the rows of its artists; see `artists.artist_rows`."""
        return artist_rows(self.contents["artist_ids"], self.content_ids, self.kinds)

    @cached_property
    def most_played(self) -> Int[np.ndarray, " some"]:
        """Rows of the contents that can be played and were chosen most of late, the most first, 1,000 at most."""
        plays = np.where(self.catalogue.of_kinds(schema.PLAYABLE_KINDS), self.facts.recent_positives, 0)
        return np.argsort(-plays, kind="stable")[: min(1_000, int(np.count_nonzero(plays)))]

    @cached_property
    def age_days(self) -> Float[np.ndarray, " contents"]:
        """Days from each content's release to the export's last event, float32; not a number where either is unknown,
        below 0 of what comes later."""
        if self.last_day is None:
            return np.full(len(self.contents), np.nan, np.float32)
        days = np.datetime64(self.last_day, "D") - self.released
        return np.where(np.isnat(days), np.nan, days.astype(np.int64)).astype(np.float32)

    @cached_property
    def sound_likeness(self) -> SoundLikeness:
        """Which contents are close by their sound alone."""
        return SoundLikeness(self.sound_vectors)

    @cached_property
    def playlists(self) -> Playlists:
        """Who made which playlist when, and of what; none before format 4."""
        path = self.folder / files.PLAYLISTS
        return Playlists(mapped_table(path) if path.exists() else PLAYLIST_COLUMNS.empty_table())
