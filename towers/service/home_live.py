"""The home page that is served now: one version of a policy over one version of an export, and its log."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from towers.errors import UserError
from towers.policies.bandit.home import Shelf, Shelves, draw_page
from towers.policies.bandit.home_cards import MOST, HomeCards, chosen_cards
from towers.policies.bandit.policy_file import PolicyVersion, open_policy, version_folder
from towers.service.home_log import CardIds, HomeLog
from towers.service.live import JOIN_S, RETRY_S, Live
from towers.service.snapshot import Snapshot

LOG = logging.getLogger("towers.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSettings:
    """Settings and parts that home pages are made with.

    Args:
        policy: folder of a policy with its versions; the link `current` in it is watched. Null: there is no home page.
        log: folder of the log; null: nothing is logged, and outcomes are refused.
        token: token that writers send; null: every client that reaches the server may write.
        cards: file with the ids of the cards, one on each line; null: the most played playlists, episodes and artists.
        max_cards: number of these most played contents, where `cards` is null.
        shelves: shelves of the page.
        wait_s: seconds for which a shown card waits for its outcome.
        write_s: seconds between two parts of the log.
        max_outcome_bytes: largest body of an outcome, in bytes.
        max_writes_per_s: pages and outcomes a second, of each process.

    Raises:
        ValueError: a number that is not above 0, or an empty token.
    """

    policy: str | Path | None
    log: str | Path | None
    token: str | None
    cards: str | Path | None
    shelves: Shelves
    max_cards: int = MOST
    wait_s: float = 1_800.0
    write_s: float = 10.0
    max_outcome_bytes: int = 4_096
    max_writes_per_s: float = 1_000.0

    def __post_init__(self) -> None:
        for name in ("max_cards", "wait_s", "write_s", "max_outcome_bytes", "max_writes_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
        if self.token is not None and not self.token.strip():
            raise ValueError("token: is empty; leave it null, or give one that cannot be guessed")

    @property
    def policy_folder(self) -> Path:
        """Returns the folder of the policy; raises `UserError` if none is given."""
        if self.policy is None:
            raise UserError("home.policy: give the folder of a policy")
        return Path(self.policy)


@dataclass(frozen=True, kw_only=True, eq=False)
class Home:
    """A policy over an export; a request holds one from its beginning to its end.

    Args:
        snapshot: the export.
        version: the policy.
        cards: cards that the policy chooses from.
        shelves: shelves of the page, from the top.
    """

    snapshot: Snapshot
    version: PolicyVersion
    cards: HomeCards
    shelves: tuple[Shelf, ...]

    @classmethod
    def open(cls, settings: HomeSettings, snapshot: Snapshot) -> "Home":
        """Opens the current version of the policy over an export.

        Raises:
            UserError: the policy is damaged or of another space, its slates are shorter than a shelf, or the export has
                no card.
        """
        export = snapshot.export
        version = open_policy(settings.policy_folder, export.space_id)
        longest = max(settings.shelves.shelves, key=lambda shelf: shelf.slots)
        if version.policy.slots < longest.slots:
            raise UserError(
                f"home.shelves: {longest.name!r} has {longest.slots} slots, and the policy {version.policy.policy_id} "
                f"chooses {version.policy.slots}"
            )
        path = None if settings.cards is None else Path(settings.cards)
        cards = chosen_cards(export, path, settings.max_cards, version.card_ids)
        cards.warm()
        home = cls(snapshot=snapshot, version=version, cards=cards, shelves=settings.shelves.shelves)
        home.warm()
        return home

    def warm(self) -> None:
        """Prepares the policy and draws one page, so that no request waits for the preparation."""
        _ = self.card_ids, self.place_of
        if len(self.snapshot.export.user_ids):
            context, candidates = self.cards.of_listener(0, time.time_ns() // 1_000, np.zeros(len(self.card_ids)))
            draw_page(self.version.policy, self.cards, context, candidates, self.shelves, np.random.default_rng(0))

    @cached_property
    def card_ids(self) -> CardIds:
        """Ids of `cards`, with their digest, for the log."""
        return CardIds(self.cards.ids)

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Place of each card by its id."""
        return {one: place for place, one in enumerate(self.card_ids)}


class LiveHome:
    """The home page that is served; `home` is replaced as a whole when the policy or the export moves.

    If a new policy and export do not fit together, for example while no policy exists yet for an export of a new
    space, the earlier pair stays in service.

    Args:
        settings: settings of the home page.
        live: the export that is served; the policy is looked at as often as its link.

    Raises:
        UserError: the policy, its export or the log cannot be opened.
    """

    def __init__(self, settings: HomeSettings, live: Live):
        self.settings = settings
        self._live = live
        self._refused: tuple[Any, float] | None = None
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.home = Home.open(settings, live.snapshot)
        self.log = None if settings.log is None else HomeLog(Path(settings.log), settings.wait_s)

    def start(self) -> None:
        """Starts two threads: one watches the policy and the export, one writes the log."""
        self._stopped.clear()
        work = {"towers-home": (self.look, self._live.watch_s), "towers-home-log": (self._write, self.settings.write_s)}
        self._threads = [
            threading.Thread(target=self._repeat, name=name, args=each, daemon=True) for name, each in work.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops both threads, writes rows of the log whose wait is over, and closes it."""
        self._stopped.set()
        for thread in self._threads[1:]:  # which writes the log
            thread.join()
        if self.log is not None:
            self.log.close()
        for thread in self._threads[:1]:
            thread.join(timeout=JOIN_S)
            if thread.is_alive():
                LOG.info("home: a policy was still being opened; ended without it")

    def look(self) -> bool:
        """Swaps to the current policy and export if one has changed and the two fit; returns whether it swapped."""
        snapshot, home = self._live.snapshot, self.home
        try:
            target = version_folder(self.settings.policy_folder)
        except (UserError, OSError, RuntimeError):  # RuntimeError: a link to itself
            target = None
        if target == home.version.folder and snapshot is home.snapshot:
            self._refused = None
            return False
        pair = target, snapshot.export.folder
        if self._refused is not None and self._refused[0] == pair and time.monotonic() < self._refused[1] + RETRY_S:
            return False
        try:
            found = Home.open(self.settings, snapshot)
        except Exception as error:  # any fault of the new version leaves the old one in service
            self._refused = pair, time.monotonic()
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            LOG.error("home: still policy %s over %s: %s", home.version.version, home.snapshot.version,
                      " ".join(reason.split()))  # fmt: skip
            return False
        LOG.info("home: now policy %s over %s", found.version.version, snapshot.version)
        self.home = found
        return True

    def _write(self) -> None:
        if self.log is None:
            return
        try:
            self.log.write_parts()
        except Exception as error:  # a full disk: rows stay in the database, and are written later
            LOG.error("home: the log is not written: %s", " ".join(str(error).split()))

    def _repeat(self, work: Any, every_s: float) -> None:
        while not self._stopped.wait(every_s):
            work()
