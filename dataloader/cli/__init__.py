"""The command line: parses, calls, prints; one file for each command.

Commands are imported when they are called, so that each starts as fast as its own libraries allow.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import Any

import click

from dataloader.cli._command import Context, no_such_command, usage_error
from dataloader.cli._output import Output, global_options
from dataloader.common import (
    VERSION,
    DataloaderError,
    ExitCode,
    FileError,
    has_too_little_memory,
    page,
    too_little_memory,
)

__all__ = ["COMMANDS", "cli", "main", "run"]

COMMANDS = (
    "init",
    "targets",
    "config",
    "generate",
    "export",
    "validate",
    "snapsets",
    "reconcile",
    "recover",
    "check",
    "plan",
    "load",
    "merge",
    "verify",
    "revoke",
    "status",
    "batches",
    "card",
    "credentials",
    "tokens",
    "backup",
    "restore",
    "backups",
    "drill",
    "taps",
    "seed",
    "drop",
    "serve",
    "demo",
    "help",
)
"""The commands in the order of the help; each is a file in this folder."""


_WRITING = frozenset(("load", "merge", "revoke", "credentials", "tokens", "backup", "restore", "seed", "drop"))
"""The commands that may leave something behind if interrupted."""


class _Commands(click.Group):
    """A group whose commands are imported on demand."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"dataloader.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest similar names for an unknown one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(no_such_command(args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C is reported by ``run`` in one line, without the empty line that click prints first."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.Abort from interrupt


@click.group(
    cls=_Commands,
    epilog=f"\b\nDocumentation:\n{page('first-batch.md')}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(VERSION, prog_name="dataloader")
@global_options
def cli() -> None:
    """Prepare batches of GPII cards: mint UUIDs, write the vendor's workbook, load the records into CouchDB.

    Start with: dataloader demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; the only place where errors are caught."""
    if sys.platform == "win32":
        sys.exit(f"error: dataloader does not run natively on Windows (use WSL: {page('reference.md#windows')})")
    try:
        _prepare_process()
        code = run(sys.argv[1:] if arguments is None else list(arguments))
        _flush()
    except KeyboardInterrupt:
        # Just before the command began, or after it ended.
        sys.stderr.write("error: interrupted: run it again\n")
        code = ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED or (code and has_too_little_memory()):
        # Requests may still be running in threads, for which a normal exit would wait. And with too little memory,
        # Python prints more errors as it exits.
        os._exit(code)
    sys.exit(code)


def _prepare_process() -> None:
    """Make SIGTERM and SIGHUP stop a command like Ctrl-C, and make streams escape what they can't encode."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that is ignored, as by nohup, stays ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else _interrupt)
    sys.unraisablehook = _interrupt_again
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
    # A second signal must not disturb the cleanup after the first.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Interrupt again a moment later, if Python had to ignore it, as in the callback of a weak reference."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    from threading import Timer, get_ident  # noqa: PLC0415 - keeps --version quick

    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not ``interrupt_main``, which does not end what the main thread waits for.
    Timer(_MOMENT, signal.pthread_kill, (get_ident(), signal.SIGINT)).start()


_MOMENT = 0.01
"""Seconds after which the main thread has left such a callback."""


def _flush() -> None:
    """Flush the output; if that fails, discard it, since Python would complain at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; without any arguments, show the help."""
    output = Output()
    code = _run(output, arguments)
    try:
        output.finish(code)
    except FileError as error:
        output.error(str(error), error.exit_code)
        return error.exit_code
    return code


def _run(output: Output, arguments: list[str]) -> int:
    try:
        return int(cli.main(arguments or ["--help"], prog_name="dataloader", standalone_mode=False, obj=output) or 0)
    except SystemExit:
        # click exits like this when the reader of its help has closed the pipe.
        return ExitCode.OK
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a bug is reported in one line, too
        name = next((word for word in arguments if word in COMMANDS), "")
        if isinstance(error.__cause__, KeyboardInterrupt):
            # Python wraps it while a class is made.
            error = error.__cause__
        if isinstance(error, click.ClickException):
            # Before the options are parsed, --json is unknown.
            output.json = output.json or "--json" in arguments
        elif not isinstance(error, KeyboardInterrupt | click.Abort):
            output.traceback()
        elif sys.stderr is not None and sys.stderr.isatty():
            # The terminal shows ^C: behind a question, or alone in a line that the error replaces.
            asked = isinstance(error, click.Abort) and error.__cause__ is None
            click.echo("" if asked else "\r", nl=asked, err=True)
        said, code = _told(error, name)
        output.error(said, code)
        return code


def _told(error: BaseException, name: str) -> tuple[str, ExitCode]:
    """Return the message for what stopped a command, and its exit code.

    Args:
        error: what stopped it.
        name: the command.
    """
    if isinstance(error, click.ClickException):
        return usage_error(error, name), ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        then = "what was written is kept; run it again to continue" if name in _WRITING else "run it again"
        return f"interrupted: {then}", ExitCode.INTERRUPTED
    if isinstance(error, OSError):
        error = _file_error(error) or error
    if isinstance(error, DataloaderError):
        return str(error), error.exit_code
    if (short := too_little_memory(error)) is not None:
        return short, ExitCode.FILE
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error: {said} (run again with --debug and report what it prints)", ExitCode.INTERNAL


def _file_error(error: OSError) -> FileError | None:
    """Return the error for a file that no command has reported; None if the error is of another kind."""
    if error.filename is not None:
        # Any access to a path may be the first to lack permission.
        return FileError.of(error, error.filename, "check the path and its permissions")
    if isinstance(error, FileNotFoundError):
        # Only the current folder has no name.
        return FileError("the current folder", rule="does not exist any more", todo="change to another one")
    # click prints the help itself.
    is_full = error.errno == errno.ENOSPC
    return FileError.of(error, "standard output", "redirect it to a disk with free space") if is_full else None
