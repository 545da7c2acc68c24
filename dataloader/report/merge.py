"""Reports of merges: preference sets that were edited twice at once, and what became of them."""

from collections.abc import Iterator, Mapping, Sequence

from dataloader.batch import CardFile
from dataloader.common import are, many
from dataloader.operations import MergeResult, SetInConflict
from dataloader.report.model import SHOWN, Attention, Report, Share, Table, Tone, table_of
from dataloader.report.notes import about, card_names, fewer_copies

_UNIT = "preference set"
_ALL_OF_THEM = "dataloader merge --dry-run lists all of them."


def merge_report(manifests: Sequence[CardFile], result: MergeResult, *, dry_run: bool, values: bool) -> Report:
    """Return the report of a merge.

    Args:
        manifests: the batches.
        result: the sets that were in conflict.
        dry_run: whether nothing was to be written.
        values: whether to show the values that owners chose, which are personal.
    """
    choose = [each for each in result.open if each.merged is None]
    ready = [each for each in result.open if each.merged is not None]
    names = card_names(manifests, {each.key for each in (*result.open, *result.merged)})

    def table(caption: str, sets: Sequence[SetInConflict]) -> Table:
        return _table(caption, sets, names, values=values)

    attention = [
        *_to_choose(choose, table("Preference sets that need a choice", choose)),
        *_ready(ready, result, table("Preference sets that can be merged", ready), dry_run=dry_run),
        *fewer_copies(result.nodes_away, short=result.short_of_copies),
    ]
    merged = "Merged preference sets" + (f", the first {SHOWN}" if len(result.merged) > SHOWN else "")
    label, meaning = ("not merged", "edited meanwhile, or rejected by the server")
    if dry_run:
        label, meaning = ("can be merged", "the edits changed different terms")
    return Report(
        about("Conflicts" if dry_run else "Merge", manifests),
        _verdict(result, dry_run=dry_run),
        Tone.ATTENTION if attention else Tone.GOOD,
        tuple(_lead(result, dry_run=dry_run)),
        f"{_UNIT}s",
        (
            Share("merged", len(result.merged), "one revision with all edits has replaced them", Tone.GOOD),
            Share(label, len(ready), meaning, Tone.ATTENTION),
            Share("to choose", len(choose), "the edits changed the same term, or cannot be compared", Tone.ATTENTION),
        ),
        tuple(attention),
        (table(merged, result.merged),),
    )


def _verdict(result: MergeResult, *, dry_run: bool) -> str:
    still, merged = len(result.open), len(result.merged)
    if still:
        return f"{many(still, _UNIT)} {are(still)} {'' if dry_run else 'still '}in conflict."
    if not merged:
        return "No preference set is in conflict."
    return f"All {many(merged, _UNIT)} in conflict are merged." if merged > 1 else f"The one {_UNIT} is merged."


def _lead(result: MergeResult, *, dry_run: bool) -> Iterator[str]:
    if result.open:
        yield "Each was edited twice at once. The servers use one of the edits until it is merged."
    if dry_run:
        yield "Nothing has been written."


def _to_choose(sets: Sequence[SetInConflict], table: Table) -> Iterator[Attention]:
    if sets:
        yield Attention(
            f"{many(len(sets), _UNIT)} {'needs' if len(sets) == 1 else 'need'} a choice",
            "For each, name the revision that counts where the edits changed the same term; other changes stay. "
            "The card's owner knows which is right.",
            table=table,
            more=len(sets) - SHOWN,
            all_of_them=_ALL_OF_THEM,
            command="dataloader merge {batch}{target}" + " --keep REVISION" * min(len(sets), 2),
        )


def _ready(sets: Sequence[SetInConflict], result: MergeResult, table: Table, *, dry_run: bool) -> Iterator[Attention]:
    if not sets:
        return
    todo = "They were edited meanwhile. Run the command again."
    if dry_run:
        todo = "The edits changed different terms. The command keeps all of them."
    elif result.rejections:
        todo = "Fix the cause that the server gives, then run the command again."
    yield Attention(
        f"{many(len(sets), _UNIT)} {'that can be' if dry_run else 'not'} merged",
        todo,
        Tone.ATTENTION if dry_run else Tone.BAD,
        tuple(f"document {each.id}: {each.reason}" for each in result.rejections[:SHOWN]),
        table,
        len(sets) - SHOWN,
        _ALL_OF_THEM,
        "dataloader merge {batch}{target}",
    )


def _table(caption: str, sets: Sequence[SetInConflict], names: Mapping[str, str], *, values: bool) -> Table:
    """Return sets as a table, with a row for each revision."""
    rows = [(each, branch) for each in sets[:SHOWN] for branch in each.branches]
    columns = {
        "Card": [names.get(each.key, "") for each, _ in rows],
        "UUID": [each.key for each, _ in rows],
        "Revision": [branch.short_rev for _, branch in rows],
        "What it changed": [branch.changed_text(values=values).removeprefix("changed ") for _, branch in rows],
        "What to choose": [each.choice_text for each, _ in rows],
    }
    return table_of(caption, columns)
