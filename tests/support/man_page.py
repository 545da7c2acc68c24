"""Generate the man page from the help of the commands; ``make docs`` writes it to docs/dataloader.1."""

from collections import Counter

import click

from dataloader.cli import cli
from dataloader.cli._command import group_of, help_record
from dataloader.common import VERSION, ExitCode


def escaped(text: str) -> str:
    """Return a text as roff takes it: see groff_char(7) and man(7)."""
    lines = [" ".join(line.split()) for line in text.replace("\\", "\\e").replace("-", "\\-").splitlines()]
    text = "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)


def _help(text: str | None) -> list[str]:
    """Return a command's help as roff: paragraphs, and examples as they are."""
    found: list[str] = []
    for paragraph in (text or "").split("\n\n"):
        lines = paragraph.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            found += [".PP", ".nf", *(escaped(line) for line in lines[1:]), ".fi"]
        elif lines:
            found += [".PP", escaped(" ".join(lines))]
    return found


def _shared(commands: dict[str, click.Command]) -> dict[str, tuple[str, str]]:
    """Return the options of the target, the connection and the output by name, as most commands describe them."""
    described: dict[str, Counter[tuple[str, str]]] = {}
    for command in commands.values():
        context = click.Context(command)
        for parameter in command.get_params(context):
            record = help_record(parameter, context)
            if record is not None and group_of(command, parameter) != "Options":
                described.setdefault(str(parameter.name), Counter())[record] += 1
    return {name: records.most_common(1)[0][0] for name, records in described.items()}


def man_page(commands: dict[str, click.Command]) -> str:
    """Return the man page of all commands."""
    parts = [
        f'.TH DATALOADER 1 "" "dataloader {VERSION}" "User Commands"',
        ".SH NAME",
        "dataloader \\- prepare batches of GPII cards and load their records into CouchDB",
        ".SH SYNOPSIS",
        ".B dataloader",
        ".I COMMAND",
        "[OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        *_help(cli.help)[1:],
        ".SH COMMANDS",
    ]
    shared = _shared(commands)
    for name, command in commands.items():
        context = click.Context(command, info_name=f"dataloader {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f".SS dataloader {name} {escaped(usage)}", *_help(command.help)]
        for parameter in command.get_params(context):
            record = help_record(parameter, context)
            own = group_of(command, parameter) == "Options" or shared.get(str(parameter.name)) != record
            if record is not None and own:
                parts += [".TP", f".B {escaped(record[0])}", escaped(record[1])]
    parts += [".SH OPTIONS OF SEVERAL COMMANDS"]
    for first, second in shared.values():
        parts += [".TP", f".B {escaped(first)}", escaped(second)]
    parts += [".SH EXIT STATUS"]
    for code in ExitCode:
        parts += [".TP", f".B {int(code)}", escaped(code.meaning)]
    return "\n".join(parts) + "\n"
