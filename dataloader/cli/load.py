"""The command ``load``: load batches to a target."""

import re
from collections.abc import Sequence
from os import environ
from pathlib import Path

import click

from dataloader.batch import WHOLE, CardFile, Part
from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled
from dataloader.cli._manifests import get_manifests, refuse_doubtful, rounds_json, rounds_text, tell_of_reconciled
from dataloader.cli._options import (
    PATH,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._report import reporting
from dataloader.cli._update import confirm_update
from dataloader.cli._write import carry_out, load_details, write_options
from dataloader.cli.plan import show_plan
from dataloader.common import ENV_JOB_INDEX, ExitCode, UsageError, many
from dataloader.couch import Server
from dataloader.operations import (
    DESIGN_KIND,
    LoadOptions,
    Source,
    all_sources,
    design_sources,
    document_sources,
    list_warnings,
    revocations_of,
    revoke_again,
)
from dataloader.report import load_report
from dataloader.target import Target

_PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def _get_part(part: str | None, parts: int | None) -> Part:
    """Return the part of each batch to load."""
    if part is not None and parts is not None:
        raise UsageError("--part --parts", rule="cannot be combined", todo="leave one out")
    if parts is not None:
        index = environ.get(ENV_JOB_INDEX, "")
        if not index.isdecimal() or int(index) >= parts:
            raise UsageError(
                f"--parts {parts}",
                rule=f"needs {ENV_JOB_INDEX} to be a number from 0 to {parts - 1}, not {index!r}",
                todo="run it in an indexed job, or use --part K/N",
            )
        return Part(int(index) + 1, parts)
    if part is None:
        return WHOLE
    match = _PART.fullmatch(part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--part {part}", rule="must be K/N with K from 1 to N", todo="correct it, as in --part 2/4")
    return Part(int(match[1]), int(match[2]))


def _check_what(manifests: Sequence[Path], documents: Sequence[Path], *, snapsets_only: bool, all_cards: bool) -> None:
    """Check that the command is given something to load.

    Raises:
        UsageError: neither manifests nor --documents nor --snapsets-only is given, or manifests with --snapsets-only.
    """
    if not manifests and not documents and not snapsets_only:
        raise UsageError("no manifest", rule="there is nothing to load", todo="name a manifest, or add --snapsets-only")
    if snapsets_only and (manifests or all_cards):
        other = str(manifests[0]) if manifests else "--all-cards"
        raise UsageError(f"--snapsets-only {other}", rule="cannot be combined", todo="leave one out")


def _with_documents(sources: list[Source], documents: list[Source]) -> list[Source]:
    """Return sources with those of documents inserted before the views, which come last."""
    at = next((at for at, source in enumerate(sources) if source.kind == DESIGN_KIND), len(sources))
    return [*sources[:at], *documents, *sources[at:]]


@command(short_help="Load cards, snapsets and views into a target.")
@manifest_argument(required=False)
@target_options
@snapset_options
@write_options
@click.option("--part", metavar="K/N", help="Load only part K of N of each batch.")
@click.option(
    "--parts",
    type=click.IntRange(min=1),
    metavar="N",
    help="The same, with K from JOB_COMPLETION_INDEX, which counts from 0.",
)
@click.option(
    "--all-cards",
    is_flag=True,
    help="Load every card of a manifest to staging or production, even those that have not come back encoded.",
)
@click.option(
    "--documents",
    type=PATH,
    multiple=True,
    metavar="FILE|DIR",
    help="Load the documents of a JSON file, or of a folder of such files; without a manifest, no snapsets are loaded.",
)
@click.option("--snapsets-only", is_flag=True, help="Load the snapsets and views without any cards.")
@click.option("--dry-run", is_flag=True, help="Show what would change and write nothing, as plan does.")
@click.option("--yes", is_flag=True, help="With --update: do not ask first.")
@load_details
@report_options
@global_options
@click.pass_obj
def load(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    write_options: LoadOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    details: Path | None,
    part: str | None,
    parts: int | None,
    all_cards: bool,
    documents: tuple[Path, ...],
    snapsets_only: bool,
    dry_run: bool,
    yes: bool,
) -> ExitCode:
    """Load snapsets, the cards of batches, and views into a target. Creates missing databases and builds the indexes.

    Can be repeated, interrupted and run twice at once. Documents that a person has edited or deleted are never changed.

    Staging and production accept encoded cards only: load NAME.reconciled.jsonl, or NAME.batch.jsonl with it in the
    same folder if every card is encoded. --all-cards loads the others, too.

    Several machines can share the work: --part 1/4 on one, --part 2/4 on another, and so on, in any order, have the
    same result as one load. In an indexed Kubernetes job, --parts 4 selects the part of JOB_COMPLETION_INDEX.

    \b
    Example:
      dataloader load batches/spring.reconciled.jsonl --target production
    """
    _check_what(manifests, documents, snapsets_only=snapsets_only, all_cards=all_cards)
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    rounds = tell_of_reconciled(output, read)
    sources = (
        all_sources(target, read, snapsets, _get_part(part, parts))
        if manifests or snapsets_only
        else design_sources(target.model)
    )
    sources = _with_documents(sources, document_sources(target, documents))
    if not all_cards:
        refuse_doubtful(target, read)
    if dry_run:
        show_plan(output, target, read, sources, details, report_options, rounds)
        return ExitCode.OK
    server = get_server(target)
    asks, older = write_options.update and not yes, write_options.older_snapsets
    if asks and not confirm_update(output, server, target, sources, snapsets, older_snapsets=older):
        return cancelled(output)
    with reporting(output, report_options, "Load", read, target, server, writes=True) as report:
        first = _RevokedFirst(output, server, target, read)
        result, noted, code = carry_out(
            output,
            server,
            target,
            sources,
            write_options,
            details=details,
            manifests=read,
            data=rounds_json(rounds),
            lines=[*rounds_text(rounds)],
            before=first,
        )
        if first.undecided and code is ExitCode.OK:
            code = ExitCode.ATTENTION
        report(lambda: load_report(target, read, sources, result, noted), code)
    return code


class _RevokedFirst:
    """Revokes the cards on the lists next to the manifests before a load, which must not let them in for a moment."""

    def __init__(self, output: Output, server: Server, target: Target, manifests: Sequence[CardFile]) -> None:
        self.undecided = 0
        """How many cards could not be revoked."""
        self._output, self._server, self._target, self._manifests = output, server, target, manifests
        # A damaged list is an error before anything is done.
        revocations_of(target, manifests)
        output.warnings(list_warnings(manifests))

    def __call__(self) -> bool:
        """Revoke the cards that are on the lists now; return whether there are any."""
        if not revocations_of(self._target, self._manifests):
            return False
        again, self.undecided = revoke_again(self._server, self._target, self._manifests)
        if again:
            self._output.say(f"revoked {many(again, 'card')} again, as listed next to the manifest")
        if self.undecided:
            cards = many(self.undecided, "card")
            self._output.error(f"{cards} could not be revoked again (use `dataloader revoke`)", ExitCode.ATTENTION)
        return True
