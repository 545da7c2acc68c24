"""Reports of drills: whether a restore works, the data at risk, and how long a restore takes."""

from dataloader.common import many
from dataloader.operations import DrillResult
from dataloader.report.facts import duration
from dataloader.report.model import Attention, Fact, Report, Table, Tone


def answers(result: DrillResult) -> tuple[str, str]:
    """Return the results of a drill in words: the data at risk, and how long a restore takes."""
    if result.last_backup is None:
        risk = f"everything ({many(result.changes_at_risk, 'document')}): there was no backup before this drill"
    else:
        changes = many(result.changes_at_risk, "changed document")
        risk = f"{changes} since the backup of {result.last_backup[:10]} {result.last_backup[11:16]} UTC"
    return (
        f"Data at risk when the drill began: {risk}.",
        f"Time to restore: {duration(result.seconds_to_restore)}.",
    )


def drill_report(result: DrillResult) -> Report:
    """Return the report of a drill."""
    attention = []
    if result.difference_count:
        attention.append(
            Attention(
                f"{many(result.difference_count, 'difference')} between the backup and the restored copy",
                "Keep the older backups, find the cause in the server's log, then run the drill again.",
                Tone.BAD,
                tuple(result.differences),
                more=result.difference_count - len(result.differences),
            )
        )
    if result.cards_not_working:
        attention.append(
            Attention(
                f"{many(result.cards_not_working, 'card')} would not work after a restore",
                "Check the target itself first, then run the drill again.",
                Tone.BAD,
                command="dataloader verify {batch}{target}",
            )
        )
    restored = f"The restored copy matches the backup in all {result.leaves:,} revisions."
    steps = tuple((name, f"{seconds:.1f} s") for name, seconds in result.steps.items())
    return Report(
        "Backup drill",
        restored if result.good else "The restored copy differs from the backup.",
        Tone.GOOD if result.good else Tone.BAD,
        answers(result),
        attention=tuple(attention),
        tables=(Table("Steps", ("Step", "Time"), steps),),
        facts=(
            Fact("Backup", "not kept" if result.path is None else str(result.path)),
            Fact("Size", f"{result.size:,} bytes"),
            Fact("Cards checked", f"{result.cards:,}"),
            *(
                [Fact("Not working in the target either", many(result.cards_broken, "card"))]
                if result.cards_broken
                else []
            ),
        ),
    )
