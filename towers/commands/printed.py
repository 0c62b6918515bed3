"""Tables that commands print: as wide as the terminal, or of a fixed width where they go to a file or a log."""

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 160
"""Characters of a line that does not go to a terminal."""


def print_table(table: Table) -> None:
    """Prints a table."""
    console = Console()
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)
