"""What a run shows while it trains: a bar on a terminal, lines elsewhere, nothing where nobody asked."""

import sys

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from towers.training.loop import Watch


class Silence:
    """Shows nothing."""

    def stepped(self, step: int, epoch: float, loss: float) -> None:
        """Nothing."""

    def validated(self, epoch: int, metrics: dict[str, float], loss: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Where no terminal watches: a line a validation.

    Args:
        max_epochs: of the run.
        shown: the metrics to tell.
    """

    def __init__(self, max_epochs: int, shown: tuple[str, ...]):
        self._max_epochs = max_epochs
        self._shown = shown
        self._step = 0

    def stepped(self, step: int, epoch: float, loss: float) -> None:
        """Remembers the step."""
        self._step = step

    def validated(self, epoch: int, metrics: dict[str, float], loss: float) -> None:
        """Prints epoch, step, loss and the metrics."""
        figures = {"loss": loss, **{name: metrics[name] for name in self._shown if name in metrics}}
        shown = ", ".join(f"{name} {figure:.4f}" for name, figure in figures.items())
        print(f"epoch {epoch}/{self._max_epochs}, step {self._step:,}: {shown}", flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Bar(Lines):
    """On a terminal: a bar over all epochs, and a line a validation above it."""

    REDRAWN_EVERY_STEPS = 5

    def __init__(self, max_epochs: int, shown: tuple[str, ...]):
        super().__init__(max_epochs, shown)
        self._bar = Progress(
            TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"), BarColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("loss {task.fields[loss]:.4f}"), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=max_epochs, loss=float("nan"))

    def stepped(self, step: int, epoch: float, loss: float) -> None:
        """Moves the bar."""
        super().stepped(step, epoch, loss)
        if step % self.REDRAWN_EVERY_STEPS == 0:
            self._bar.start()
            self._bar.update(self._task, completed=epoch, loss=loss)

    def close(self) -> None:
        """Gives the terminal back."""
        self._bar.stop()


def chosen_watch(is_shown: bool, max_epochs: int, shown: tuple[str, ...]) -> Watch:
    """A bar on a terminal, lines elsewhere, nothing where nobody asked.

    Args:
        is_shown: whether somebody asked.
        max_epochs: of the run.
        shown: the validation metrics to tell.
    """
    if not is_shown:
        return Silence()
    return (Bar if sys.stdout.isatty() else Lines)(max_epochs, shown)
