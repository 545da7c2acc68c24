"""Generate the parts of the docs that come from the code: docs/commands.md, and two tables of docs/reference.md.

``make docs`` runs it; a test fails if anything is outdated.
"""

import ast
import re
from itertools import pairwise
from pathlib import Path

import click

from dataloader.cli import COMMANDS, cli
from dataloader.common import ExitCode, settings
from tests.support.man_page import man_page

ROOT = Path(__file__).resolve().parents[2]
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
MAN_PAGE = ROOT / "docs" / "dataloader.1"
REFERENCE = ROOT / "docs" / "reference.md"
WIDTH = 100
"""The width of help texts in columns."""

_INTRODUCTION = """\
# Commands

<!-- Written by `make docs` from the program's own help; change that. -->

The help of each command. The options `--json`, `--quiet`, `--debug`, `--log-format` and `--no-color`
may also come before the command.
"""


def commands() -> dict[str, click.Command]:
    """Return every registered command by name."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def help_text(command: click.Command, name: str | None = None) -> str:
    """Return the output of ``--help`` on a terminal of fixed width."""
    top = cli.context_class(cli, info_name="dataloader", terminal_width=WIDTH, help_option_names=["-h", "--help"])
    context = top if name is None else command.context_class(command, parent=top, info_name=name)
    return "\n".join(line.rstrip() for line in context.get_help().splitlines())


def commands_page() -> str:
    """Return docs/commands.md."""
    parts = [_INTRODUCTION, f"```text\n{help_text(cli)}\n```\n"]
    parts += [
        f"## dataloader {name}\n\n```text\n{help_text(command, name)}\n```\n" for name, command in commands().items()
    ]
    return "\n".join(parts)


def exit_codes() -> str:
    """Return the table of exit codes."""
    rows = [f"| {int(code)} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "| ---: | --- |", *rows])


def environment() -> dict[str, str]:
    """Return the environment variables and their meanings, from the module that defines them."""
    body = ast.parse(Path(settings.__file__).read_text("utf-8")).body
    found: dict[str, str] = {}
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name.startswith("ENV_"):
                text = following.value.value if _is_text(following) else ""  # type: ignore[attr-defined]
                found[getattr(settings, name)] = " ".join(str(text).split())
    return found


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def environment_table() -> str:
    """Return the table of environment variables."""
    rows = [f"| `{name}` | {meaning.replace('``', '`')} |" for name, meaning in environment().items()]
    return "\n".join(["| variable | meaning |", "| --- | --- |", *rows])


SECTIONS = {"exit codes": exit_codes, "settings": environment_table}
"""The tables in docs/reference.md, between ``<!-- NAME -->`` and the next ``<!-- end -->``."""


def reference(text: str) -> str:
    """Return docs/reference.md with its tables regenerated.

    Raises:
        ValueError: markers are missing or duplicate.
    """
    for name, table in SECTIONS.items():
        section = re.compile(rf"(?<=<!-- {name} -->\n)(?:(?!<!--).)*(?=<!-- end -->)", re.DOTALL)
        if len(section.findall(text)) != 1:
            raise ValueError(f"{REFERENCE.name} must hold <!-- {name} --> and <!-- end --> once, on lines of their own")
        text = section.sub(lambda _, table=table: f"\n{table()}\n\n", text)  # type: ignore[misc]
    return text


def documents() -> dict[Path, str]:
    """Return the content of every generated file."""
    return {
        COMMANDS_PAGE: commands_page(),
        MAN_PAGE: man_page(commands()),
        REFERENCE: reference(REFERENCE.read_text("utf-8")),
    }


def main() -> None:
    """Write the files."""
    for path, text in documents().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
