"""Lines on a terminal end between words."""

import shutil
import textwrap

from dataloader.cli._table import MAX_WIDTH

_COMMAND = "dataloader "


def wrapped(line: str, width: int | None = None) -> list[str]:
    """Return a line as lines that fit a terminal; no word is broken, and a command can still be copied.

    Args:
        line: the line, perhaps indented.
        width: columns; None for those of the terminal.
    """
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if width is None else width
    if len(line) <= columns:
        return [line]
    text = line.lstrip()
    is_command = text.startswith(_COMMAND)
    if is_command and ("'" in text or '"' in text):
        # A backslash within quotes would become part of the word.
        return [line]
    indent = " " * (len(line) - len(text) + 2)
    end = " \\" if is_command else ""
    lines = textwrap.wrap(
        line, columns - len(end), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [each + end for each in lines[:-1]] + lines[-1:]


def next_lines(text: str, label: str, width: int | None = None) -> list[str]:
    """Return what to type next, the command on a line of its own where all of it does not fit on one.

    Args:
        text: words, or a command, or both.
        label: what comes before it.
        width: columns; None for those of the terminal.
    """
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if width is None else width
    line = f"{label} {text}"
    at = line.find(f" {_COMMAND}")
    if len(line) <= columns or at < 0:
        return wrapped(line, columns)
    return [*wrapped(line[:at], columns), *wrapped(f"  {line[at + 1 :]}", columns)]
