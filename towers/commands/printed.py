"""Printing of tables: as wide as the terminal, or of a fixed width where output goes to a file or a log."""

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 160
"""Width, in characters, of output that does not go to a terminal."""


def print_table(table: Table) -> None:
    """Prints a table."""
    console = Console()
    (console if console.is_terminal else Console(width=FILE_WIDTH)).print(table)
