"""Reports of tap tests: how fast cards were served, and when they were not."""

from collections import Counter
from collections.abc import Sequence

from dataloader.common import many
from dataloader.operations import QUANTILES, TapsResult
from dataloader.report.model import Attention, Bar, Chart, Fact, Report, Share, Table, Tone

SHOWN_FAILURES = 10
_BLANK = "\N{NO-BREAK SPACE}"


def taps_report(result: TapsResult, rate: float, broken: Sequence[str]) -> Report:
    """Return the report of a tap test.

    Args:
        result: the result of the test.
        rate: taps per second.
        broken: the exceeded bounds, in words.
    """
    failed = len(result.failed)
    when = "The chart shows when; the server's log says why."
    attention = []
    if result.command_problem:
        heading = f"{result.command_problem[0].upper()}{result.command_problem[1:]}"
        attention.append(Attention(heading, "Its fault may not have happened. Correct it, then test again.", Tone.BAD))
    attention += [Attention(f"{many(len(broken), 'bound')} exceeded", when, Tone.BAD, tuple(broken))] if broken else []
    if failed:
        reasons = Counter(tap.failure for tap in result.failed).most_common()
        items = tuple(f"{reason} ({many(count, 'tap')})" for reason, count in reasons)
        heading = f"{many(failed, 'tap')} not served"
        attention.append(Attention(heading, "" if broken else when, Tone.BAD, items[:SHOWN_FAILURES]))
    quantiles = tuple((name, f"{result.quantile(part) * 1000:,.0f} ms") for name, part in QUANTILES.items())
    share = f"{100 * result.available:.2f}{_BLANK}% of" if failed else "All"
    served = (
        f"{share} {many(len(result.taps), 'tap')} were served, 99{_BLANK}% of them "
        f"within {result.quantile(QUANTILES['p99']) * 1000:,.0f} ms."
    )
    exceeded = "A bound was exceeded." if len(broken) == 1 else f"{many(len(broken), 'bound')} were exceeded."
    what = "did not run" if result.command_began is None else "failed"
    uncounted = f"This test does not count: its command {what}."
    verdict = exceeded if broken else uncounted if result.command_problem else served
    return Report(
        "Tap test",
        verdict,
        Tone.BAD if verdict is not served else Tone.ATTENTION if failed else Tone.GOOD,
        (*([served] if verdict is not served else []), *_lead(result)),
        "taps",
        (
            Share("served", len(result.taps) - failed, "the card's documents were returned", Tone.GOOD),
            Share("not served", failed, "an error, a timeout, or no such card", Tone.BAD),
        ),
        tuple(attention),
        (Table("Latency", ("Of all taps", "At most"), quantiles),),
        (
            Fact("Rate", f"{rate:g} taps a second"),
            Fact("Cards", f"{result.cards:,}"),
            *([Fact("Command", result.command, typed=True)] if result.command else []),
        ),
        charts=(_chart(result),),
    )


def _lead(result: TapsResult) -> list[str]:
    lines = []
    if result.failed:
        lines.append(f"The longest time without a served tap was {result.longest_outage:.1f} s.")
    if result.command_times:
        lines.append(f"The command {result.command_times}.")
    return lines


def _chart(result: TapsResult) -> Chart:
    bars = tuple(
        Bar(
            f"second {at}: {second.slowest * 1000:,.0f} ms"
            + (f", {second.failed:,} of {second.taps:,} not served" if second.failed else ""),
            second.slowest * 1000,
            Tone.BAD if second.failed else Tone.GOOD,
        )
        for at, second in enumerate(result.by_second())
    )
    return Chart("The slowest tap of each second", "ms", "seconds", bars)
