"""How batches came into use: the JSON of earlier runs, for the chart of a report."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from dataloader.common import FileError, InputError, Problem
from dataloader.report import Moment

Counts = Mapping[str, int]


def read_history(
    paths: Sequence[Path], counts_of: Callable[[dict[str, Any]], Counts], present: Moment
) -> tuple[Moment, ...]:
    """Return what earlier runs of a command found, and the present one.

    Args:
        paths: files that hold what ``--json`` printed, a line each.
        counts_of: takes the counts from such an object; raises LookupError or TypeError for another command's.
        present: what this run found.

    Raises:
        FileError: a file can't be read.
        InputError: one holds something else.
    """
    found = [present]
    for path in paths:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise FileError.of(error, path, "name a file that holds what --json printed") from error
        for number, line in enumerate(lines, 1):
            try:
                data = orjson.loads(line)
                moment = Moment(data["time"], {key: int(count) for key, count in counts_of(data).items()})
                datetime.fromisoformat(moment.time)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                rule = "is not what --json of the same command printed"
                raise InputError(Problem(f"{path}, line {number}", rule, "name the files of earlier runs")) from error
            found.append(moment)
    return tuple(found)
