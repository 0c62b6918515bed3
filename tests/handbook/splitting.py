"""Splits a line of bash into commands and arguments, if it needs no shell."""

import re
import shlex
from collections.abc import Iterator

from towers.cli import COMMANDS

_VARIABLE = re.compile(r"^[A-Za-z_]\w*=")
_BREAKS = {"&&", "||", ";", "|", "&", "(", ")", "|&", ";;"}


def words(text: str) -> list[str]:
    """Returns the words of a command line, without quotation marks and comments; `&&`, `|` and the like are words.

    Raises:
        ValueError: a quotation is not closed.
    """
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    return list(lexer)


def calls(text: str) -> Iterator[list[str]]:
    """Returns the single commands of a line, each a list of words."""
    call: list[str] = []
    for word in words(text):
        if word in _BREAKS:
            yield call
            call = []
        else:
            call.append(word)
    yield call


def assigned(call: list[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the variables that stand before a command, such as `A=b towers train`, and the command."""
    at = next((place for place, word in enumerate(call) if not _VARIABLE.match(word)), len(call))
    return dict(word.split("=", 1) for word in call[:at]), call[at:]


def of_towers(text: str) -> list[list[str]] | None:
    """Returns the calls of a line `towers ... && towers ...`; None if it holds anything else, or needs a shell."""
    if _needs_shell(text) or "\n" in text.replace("\\\n", " "):
        return None
    found = list(calls(text))
    return found if all(assigned(call)[1][:1] == ["towers"] for call in found) else None


def arguments_of_towers(text: str) -> Iterator[list[str]]:
    """Yields the arguments of every `towers` in a line, also behind `torchrun -m`, `srun` and the like, without
    redirections.
    """
    for call in calls(text):
        _, command = assigned(call)
        for place, word in enumerate(command):
            is_started = place == 0 or command[place - 1] == "-m" or command[0] in ("srun", "time", "nice")
            if word.rpartition("/")[2] == "towers" and is_started:
                rest = command[place + 1 :]
                cut = next((at for at, each in enumerate(rest) if each[0] in "<>"), len(rest))
                yield rest[:cut]
                break


def is_command(arguments: list[str]) -> bool:
    """Returns whether `towers` knows the first argument as a command."""
    return bool(arguments) and (arguments[0] in COMMANDS or arguments[0] in ("-h", "--help", "help", "--version"))


def _needs_shell(text: str) -> bool:
    """Returns whether unquoted text needs bash: a variable, a redirection, a pipe, a pattern, braces."""
    quote, is_comment, before = "", False, " "
    for sign in text.replace("&&", " "):
        if is_comment:
            is_comment = sign != "\n"
        elif quote:
            if quote == '"' and sign in "$`\\":
                return True
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and before.isspace():
            is_comment = True
        elif sign in "$`*?<>|;~(&{":
            return True
        before = sign
    return False
