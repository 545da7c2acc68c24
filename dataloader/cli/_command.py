"""Commands: options in groups, help without broken words, and suggestions for mistakes."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from dataloader.cli._output import Output
from dataloader.common import bounded, did_you_mean

GROUPS = {
    "Target": ("target", "url", "model", "environment", "prefix", "config"),
    "Connection": ("ca_file", "client_cert", "client_key", "insecure", "wait"),
    "Output": ("report", "full", "history", "details", "json", "quiet", "no_color", "log_format", "debug"),
}
"""The groups of options in the help after a command's own, by parameter names."""

_SHARED = ("snapsets_dir", "strict")
"""Options of a command's own group that other commands have, too: they come last."""
_RANGE = re.compile(r"\[(?:(?P<least>[\d.]+)<=x<=(?P<most>[\d.]+)|x>=\d+)\]")
"""A range as click formats it."""
_NUMBERS = re.compile(r"is not a valid (?:(?P<whole>integer)|float)(?: range)?")
"""What click says of a value that is not a number."""
_OUTSIDE = re.compile(r"(?P<value>\S+) is not in the range (?:(?P<least>[\d.]+)<=x<=(?P<most>[\d.]+)|x>=(?P<only>\d+))")
"""What click says of a number outside a range."""
_SEPARATED = re.compile(r"'(\d{1,3}(?:[ ,.'_]\d{3})+)'")
"""A number with thousands separators."""
_GIVEN = (
    (re.compile(r"missing argument '?([^'.]*)'?\. Choose from:.*"), r"missing argument '\1'"),
    (re.compile("requires an argument"), "needs a value"),
    (re.compile(r"got unexpected extra argument(s?) \((.*)\)", re.DOTALL), r"unexpected argument\1: \2"),
)
"""What click says of missing values, and what we say."""
_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_NARROW, _NARROWEST = 50, 34
"""Widths of help in columns: below the first, longer options have a line of their own; below the second, lines wrap."""
_NARROW_COLUMN = 10
"""The width of the column of options in narrow help."""


class _Formatter(click.HelpFormatter):
    """Formats help so that lines never end within a word, such as an option or file name."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        if width is None:
            # click takes no terminal for narrower than 50 columns.
            columns = shutil.get_terminal_size().columns
            width = max(min(columns, max_width or columns) - 2, _NARROWEST)
        super().__init__(indent_increment, width, max_width)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(_kept(prog), _kept(args), prefix)

    def write_text(self, text: str) -> None:
        super().write_text(_kept(text))

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(
            [(_kept(first), _kept(second)) for first, second in rows],
            col_max if self.width >= _NARROW else _NARROW_COLUMN,
            col_spacing,
        )

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-")


def _kept(text: str) -> str:
    # textwrap breaks lines after hyphens.
    return text.replace("-", _HYPHEN)


class Context(click.Context):
    """The context of our commands."""

    formatter_class = _Formatter


class Command(click.Command):
    """A command whose help shows its own options first, then those of the target, the connection and the output."""

    context_class = Context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; if it succeeds, print what to type next."""
        code = super().invoke(ctx)
        output = ctx.find_object(Output)
        if output is not None and not code and not output.has_next:
            from dataloader.cli._next import next_after  # noqa: PLC0415 - it needs this module's groups

            following = next_after(ctx)
            if following is not None:
                output.next(following)
        return code

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups."""
        grouped: dict[str, list[tuple[str, str]]] = {"Options": [], **{group: [] for group in GROUPS}}
        for parameter in sorted(self.get_params(ctx), key=lambda each: each.name in _SHARED):
            record = help_record(parameter, ctx)
            if record is not None:
                grouped[group_of(self, parameter)].append(record)
        for group, records in grouped.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)


command: Callable[..., Callable[[Callable[..., Any]], Command]] = partial(click.command, cls=Command)
"""Make a command of ours from a function, as ``click.command`` does."""


def help_record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    """Return an option and its help, with the range of numbers in words; None for hidden options."""
    record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
    return None if record is None else (record[0], _RANGE.sub(_in_words, record[1]).rstrip())


def _in_words(match: re.Match[str]) -> str:
    # Numbers are not negative anyway.
    return f"({float(match['least']):,g} to {float(match['most']):,g})" if match["most"] else ""


def group_of(command: click.Command, parameter: click.Parameter) -> str:
    """Return the group of a parameter."""
    has_target = any(each.name == "url" for each in command.params)
    for group, names in GROUPS.items():
        if parameter.name in names and (has_target or group == "Output"):
            return group
    if "--help" in parameter.opts:
        return "Output"
    return "Options"


def usage_error(error: click.ClickException, name: str = "") -> str:
    """Return what is wrong with a command line, a suggestion, and where to find help, in one line.

    Args:
        error: click's error.
        name: the command, if click does not say which one.
    """
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = f"dataloader {name}".strip() if context is None else context.command_path
    message = bounded(error.format_message()).rstrip(".")
    if isinstance(error, click.NoSuchOption):
        known = [] if context is None else [name for each in context.command.get_params(context) for name in each.opts]
        # Without the hyphens, which make any two options similar.
        bare = {name.lstrip("-"): name for name in known if name.startswith("--")}
        question = did_you_mean(error.option_name.lstrip("-"), bare, bare.__getitem__)
        message = f"no such option {bounded(error.option_name)}" + (f"; {question}" if question else "")
        if isinstance(error.ctx and error.ctx.command, click.Group) and not question:
            message += "; the options of a command come after it"
    elif choice := re.search(r"'([^']*)' is not (?:one\s+of )?('.*)$", message):
        known = re.findall(r"'([^']*)'", choice[2])
        if len(known) == 1:
            message = f"{message[: choice.start()]}{choice[1]!r} must be {known[0]}"
        else:
            listed = f"{message[: choice.start()]}{choice[1]!r} must be one of: {', '.join(known)}"
            message = _suggesting(listed, choice[1], known)
    message = _NUMBERS.sub(lambda match: f"is not a {'whole ' if match['whole'] else ''}number", message)
    message = _OUTSIDE.sub(_range_in_words, message)
    if "not a whole number" in message and (separated := _SEPARATED.search(message)):
        message += f"; did you mean {re.sub('[^0-9]', '', separated[1])}?"
    message = message[:1].lower() + message[1:]
    for pattern, said in _GIVEN:
        message = pattern.sub(said, message)
    return f"{message} (see `{path} --help`)"


def _range_in_words(match: re.Match[str]) -> str:
    if match["only"]:
        return f"{match['value']} must be {match['only']} or more"
    return f"{match['value'].removesuffix('.0')} must be from {float(match['least']):,g} to {float(match['most']):,g}"


def _suggesting(message: str, name: str, known: list[str]) -> str:
    question = did_you_mean(name, known)
    return f"{message}; {question}" if question else message


def no_such_command(name: str, known: list[str]) -> str:
    """Return the message for an unknown command, with a suggestion."""
    return _suggesting(f"no such command {name!r}", name, known)
