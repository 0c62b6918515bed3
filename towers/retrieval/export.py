"""An opened export, from which serving reads. Imports no torch.

`search` finds contents in it, by the rules of `query`.
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
    """One version of an export: its files, and the derived data that recommendations and playlists use.

    Each part is read on first access; a part that an older format does not have is null.
    """

    @cached_property
    def co_listening(self) -> Neighbours | None:
        """Nearest contents of each content by shared listeners; null before format 4."""
        path = self.folder / files.CO_LISTENING
        return Neighbours.read(path) if path.exists() else None

    @cached_property
    def recordings(self) -> Int[np.ndarray, " contents"] | None:
        """Row of the first content with the same recording, which remasters and duplicates share; a content's own row
        if there is no other; null before format 4."""
        path = self.folder / files.RECORDINGS
        return mapped_array(path) if path.exists() else None

    @cached_property
    def mixture(self) -> Mixture | None:
        """Model that ranks contents new to a listener by several signals; null if it could not be fitted, and before
        format 4."""
        path = self.folder / files.MIXTURE
        return Mixture.read(path, self.space_id) if path.exists() else None

    @cached_property
    def styles(self) -> Styles | None:
        """Shares of kinds and genres in each content; null before format 4."""
        path = self.folder / files.STYLES
        return Styles.read(path) if path.exists() else None

    @cached_property
    def regions(self) -> Regions | None:
        """Named regions of the space; null before format 4."""
        path = self.folder / files.REGIONS
        return Regions.read(path) if path.exists() else None

    @cached_property
    def long_term(self) -> LongTerm | None:
        """Long-term value of a listen of each content; null if the log was too short to estimate it, and before
        format 5."""
        path = self.folder / files.LONG_TERM
        return LongTerm.read(path, self.space_id) if path.exists() else None

    def known_long_term(self) -> LongTerm:
        """Returns `long_term`; raises `UserError` if the export has none."""
        if self.long_term is None:
            told = self.manifest.get("long_term", {"reason": "it was made before exports had this part"})
            raise UserError(
                f"{self.folder}: does not say what a listen is worth later: {told['reason']}; export a run whose "
                "training period is longer, or do without"
            )
        return self.long_term

    @cached_property
    def artist_rows(self) -> Ragged:
        """Rows of each content's artists; see `artists.artist_rows`."""
        return artist_rows(self.contents["artist_ids"], self.content_ids, self.kinds)

    @cached_property
    def most_played(self) -> Int[np.ndarray, " some"]:
        """Rows of the playable contents with the most recent positive events, in descending order, at most 1,000."""
        plays = np.where(self.catalogue.of_kinds(schema.PLAYABLE_KINDS), self.facts.recent_positives, 0)
        return np.argsort(-plays, kind="stable")[: min(1_000, int(np.count_nonzero(plays)))]

    @cached_property
    def age_days(self) -> Float[np.ndarray, " contents"]:
        """Days from each content's release to the export's last event, float32; NaN where either is unknown, negative
        for a later release."""
        if self.last_day is None:
            return np.full(len(self.contents), np.nan, np.float32)
        days = np.datetime64(self.last_day, "D") - self.released
        return np.where(np.isnat(days), np.nan, days.astype(np.int64)).astype(np.float32)

    @cached_property
    def sound_likeness(self) -> SoundLikeness:
        """Similarity of contents by their sound alone."""
        return SoundLikeness(self.sound_vectors)

    @cached_property
    def playlists(self) -> Playlists:
        """Playlists with their curators, creation times and members; empty before format 4."""
        path = self.folder / files.PLAYLISTS
        return Playlists(mapped_table(path) if path.exists() else PLAYLIST_COLUMNS.empty_table())
