"""Wrap lines on a terminal between words."""

import re
import shutil
import textwrap

from dataloader.cli._table import MAX_WIDTH

_COMMAND = "dataloader "
_QUOTED = re.compile("`dataloader [^`]*`")
"""A command within a sentence."""
_IN_QUOTES = re.compile(r"'[^']*'|\"[^\"]*\"")
_OPTION = re.compile(rf"--[a-z-]+ (?:(?:{_IN_QUOTES.pattern})|[^-\s]\S*)")
"""An option and its value."""
_GLUE = "\N{NO-BREAK SPACE}"


def wrapped(line: str, width: int | None = None) -> list[str]:
    """Wrap a line to the terminal's width without breaking words; commands can still be copied.

    Args:
        line: the line, possibly indented.
        width: the width in columns; None for the terminal's.
    """
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if width is None else width
    if len(line) <= columns:
        return [line]
    text = line.lstrip()
    is_command = text.startswith(_COMMAND)
    if is_command and _IN_QUOTES.sub("", text).count("'"):
        # A backslash within quotes would become part of the word.
        return [line]
    indent = " " * (len(line) - len(text) + 2)
    end = " \\" if is_command else ""
    kept = _OPTION if is_command else _QUOTED
    line = kept.sub(lambda match: match[0].replace(" ", _GLUE) if len(match[0]) < columns else match[0], line)
    if is_command:
        line = _IN_QUOTES.sub(lambda match: match[0].replace(" ", _GLUE), line)
    lines = textwrap.wrap(
        line, columns - len(end), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [each.replace(_GLUE, " ") + end for each in lines[:-1]] + [each.replace(_GLUE, " ") for each in lines[-1:]]


def next_lines(text: str, label: str, width: int | None = None) -> list[str]:
    """Format what to type next, with the command on a separate line if it does not all fit on one.

    Args:
        text: words, a command, or both.
        label: the label before it.
        width: the width in columns; None for the terminal's.
    """
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if width is None else width
    line = f"{label} {text}"
    several = text.split("; or ")
    if len(line) > columns and len(several) > 1 and all(each.startswith(_COMMAND) for each in several):
        return [f"{label} one of", *(part for each in several for part in wrapped(f"  {each}", columns))]
    at = line.find(f" {_COMMAND}")
    if len(line) <= columns or at < 0:
        return wrapped(line, columns)
    return [*wrapped(line[:at], columns), *wrapped(f"  {line[at + 1 :]}", columns)]
