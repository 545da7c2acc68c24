"""The history of batches: the JSON of earlier runs, for the charts of a report."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from dataloader.cli._options import HistoryOptions, ReportOptions
from dataloader.common import InputError, Problem, UsageError, read_file
from dataloader.report import Moment

MAX_HISTORY = 100_000_000
"""The largest file of earlier results, in bytes."""


def read_history(
    options: HistoryOptions,
    report: ReportOptions,
    counts_of: Callable[[dict[str, Any]], Mapping[str, Mapping[str, int]]],
) -> dict[str, tuple[Moment, ...]]:
    """Return the results of earlier runs of a command, read before the current run starts.

    Failed runs without a result are skipped, so that the output of a cron job can be used directly.

    Args:
        options: the files with the output of ``--json``, one line for each run.
        report: the path of the report, which needs the history.
        counts_of: extracts the counts from such an object, by batch; raises LookupError, TypeError or AttributeError
            for the output of another command.

    Raises:
        FileError: a file can't be read.
        InputError: a file has other content.
        UsageError: there is no report.
    """
    if options.history and report.report is None:
        raise UsageError("--history", rule="needs a report", todo="add --report FILE")
    found: dict[str, list[Moment]] = {}
    for path in options.history:
        lines = read_file(path, MAX_HISTORY, "name a file with the output of --json").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                data = orjson.loads(line)
                if "error" in data and "time" not in data:
                    continue
                time = data["time"]
                datetime.fromisoformat(time)
                for name, counts in counts_of(data).items():
                    found.setdefault(name, []).append(Moment(time, {key: _count(counts[key]) for key in counts}))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                rule = "is not the --json output of the same command"
                raise InputError(Problem(f"{path}, line {number}", rule, "name the files of earlier runs")) from error
    return {name: tuple(moments) for name, moments in found.items()}


def _count(count: Any) -> int:
    if int(count) < 0:
        raise ValueError(count)
    return int(count)
