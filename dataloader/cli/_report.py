"""Write reports of runs as pages: requested by ``--report``, written when the run ends or stops."""

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click
from click.core import ParameterSource

from dataloader.batch import CardFile, Reconciled, find_reconciled
from dataloader.cli._next import manifest_words, target_words
from dataloader.cli._options import ReportOptions
from dataloader.cli._output import Output
from dataloader.common import DataloaderError, ExitCode, FileError, UsageError, new_files
from dataloader.couch import Server
from dataloader.report import Report, Run, about, described, render, stopped
from dataloader.target import Target


@dataclass
class Reporter:
    """Receives the report; called once at the end of a run, with a function that makes it.

    If no report is requested, none is made.
    """

    wanted: bool
    report: Report | None = field(default=None, init=False)
    code: ExitCode = field(default=ExitCode.OK, init=False)

    def __call__(self, make: Callable[[], Report], code: ExitCode) -> None:
        """Make the report of a run that has ended with an exit code."""
        if self.wanted:
            self.report, self.code = make(), code


@contextmanager
def reporting(
    output: Output,
    options: ReportOptions,
    what: str,
    manifests: Sequence[CardFile],
    target: Target | None = None,
    server: Server | None = None,
    *,
    writes: bool = False,
) -> Iterator[Reporter]:
    """Give a run its reporter, and write the page at the end.

    Whether the page can be written is checked before the run starts. A run that stops half-way has a report, too.

    Args:
        output: how the command prints.
        options: the path of the page, if requested.
        what: the run, as in a heading: ``Load``.
        manifests: the batches.
        target: where it goes.
        server: the target's server.
        writes: whether such a run writes to its target.

    Raises:
        FileError: the page already exists, or can't be written.
        UsageError: the report and the details are the same file.
    """
    output.full = options.full
    if options.report is None:
        yield Reporter(wanted=False)
        return
    context = click.get_current_context()
    details = context.params.get("details")
    if details is not None and details.absolute() == options.report.absolute():
        rule = "must be two files"
        raise UsageError(f"--report --details {options.report}", rule=rule, todo="give each its own name")
    reporter = Reporter(wanted=True)
    started, start = datetime.now(UTC), time.monotonic()
    failure: DataloaderError | KeyboardInterrupt | None = None
    try:
        with new_files(options.report) as (stream,):
            try:
                yield reporter
            except (DataloaderError, KeyboardInterrupt) as error:
                failure = error
                reporter.report, reporter.code = _stopped(output, about(what, manifests), what, error, writes=writes)
            if reporter.report is not None:
                run = Run(
                    command=_typed(output, target),
                    manifests=manifests,
                    target=target,
                    server=None if server is None else server.greeting,
                    started=started,
                    seconds=time.monotonic() - start,
                    code=reporter.code,
                    target_name=str(context.params.get("target") or ""),
                    batch=manifest_words(context),
                    options=output.masked(target_words(context)),
                    ready=_ready(manifests),
                )
                report = described(reporter.report.with_warnings(output.noticed), run)
                stream.write(output.cleaned(render(report, full=output.full).decode()).encode())
        if reporter.report is not None:
            output.wrote("report", options.report)
    except FileError as error:
        if failure is None:
            raise
        output.warn(f"the report could not be written: {error}")
    if failure is not None:
        raise failure


def _ready(manifests: Sequence[CardFile]) -> str:
    """Return the files to load, as words: the newest reconciled ones, and manifests that have none."""
    paths = []
    for each in manifests:
        newest = None
        if not isinstance(each, Reconciled):
            # What is wrong with it has been said.
            with suppress(DataloaderError):
                newest = find_reconciled(each)
        paths.append(shlex.quote(str((newest or each).path)))
    return " ".join(paths)


def _stopped(
    output: Output, heading: str, what: str, error: DataloaderError | KeyboardInterrupt, *, writes: bool
) -> tuple[Report, ExitCode]:
    if isinstance(error, DataloaderError):
        lines, code = output.masked(str(error)).splitlines(), error.exit_code
    else:
        lines, code = ["It was interrupted (Ctrl-C)."], ExitCode.INTERRUPTED
    return stopped(heading, f"The {what.lower()}", lines, writes=writes), code


def _typed(output: Output, target: Target | None) -> str:
    """Return the command line as it was typed, without anything that could be credentials."""
    context = click.get_current_context()
    words = [context.command_path]
    for parameter in context.command.params:
        name = str(parameter.name)
        if name not in context.params or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        values = value if isinstance(value, tuple) else (value,)
        if name == "url" and target is not None:
            values = target.address.urls
        if isinstance(parameter, click.Option):
            option = max(parameter.opts, key=len)
            words += [option] if parameter.is_flag else [f"{option} {_quoted(output, each)}" for each in values]
        else:
            words += [_quoted(output, each) for each in values]
    return " ".join(words)


def _quoted(output: Output, value: object) -> str:
    return shlex.quote(output.masked(str(value)))
