"""Reports of plans and loads."""

from collections.abc import Iterator, Mapping, Sequence

from dataloader.batch import CardFile
from dataloader.common import are, listed, many
from dataloader.operations import LoadResult, Outcome, Plan, Source
from dataloader.records.models import Role
from dataloader.replication import State
from dataloader.report.documents import FAILED, NotedDocument, attention, by_kind, tallies
from dataloader.report.model import Attention, Report, Share, Tone
from dataloader.report.notes import Noted, about, left_out
from dataloader.target import Environment, Target

_STATES = {
    State.ABSENT: (Tone.GOOD, "not there yet; a load creates them"),
    State.UNCHANGED: (Tone.QUIET, "there already, exactly as they should be"),
    State.EDITED: (Tone.QUIET, "changed by their owners since they were loaded; they stay as they are"),
    State.DELETED: (Tone.QUIET, "deleted since they were loaded, as a lost card's are; they stay so"),
    State.OUTDATED: (Tone.ATTENTION, "an earlier load's, from other input"),
    State.FOREIGN: (Tone.BAD, "not written by this tool"),
    State.CONFLICTED: (Tone.BAD, "several versions stand side by side"),
}
_OUTCOMES = {
    Outcome.CREATED: (Tone.GOOD, "were not there, and have been written"),
    Outcome.UPDATED: (Tone.GOOD, "were outdated, and have been replaced"),
    Outcome.UNCHANGED: (Tone.QUIET, "were there already, exactly as they should be"),
    Outcome.EDITED: (Tone.QUIET, "changed by their owners since they were loaded; left as they are"),
    Outcome.DELETED: (Tone.QUIET, "deleted since they were loaded, as a lost card's are; left so"),
    Outcome.OUTDATED: (Tone.ATTENTION, "an earlier load's, from other input; left as they are"),
    Outcome.FOREIGN: (Tone.BAD, "not written by this tool; left as they are"),
    Outcome.CONFLICTED: (Tone.BAD, "several versions stand side by side; left as they are"),
    Outcome.FAILED: (Tone.BAD, "not taken by the server"),
}


def plan_report(
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    result: Plan,
    noted: Noted[NotedDocument],
) -> Report:
    """Return the report of a plan."""
    found = tallies(target, result.states)
    doubtful = [*attention(found, manifests, noted), *_raised(target, result.raised)]
    absent = result.count(State.ABSENT)
    would = f"load would create {many(absent, 'document')}" if absent else "load would create nothing"
    need = sum(map(result.count, (State.OUTDATED, State.FOREIGN, State.CONFLICTED)))
    lead = [f"Nothing has been written. {_seen(target, sources, result.documents)}"]
    lead += left_out(manifests)
    if result.missing_databases:
        lead.append(f"A load would first create {_databases(result.missing_databases)}.")
    return Report(
        about("Plan", manifests),
        f"{_need(need)} attention; a {would}." if need else f"A {would}.",
        Tone.ATTENTION if doubtful else Tone.GOOD,
        tuple(lead),
        "documents",
        tuple(Share(state.value, result.count(state), text, tone) for state, (tone, text) in _STATES.items()),
        tuple(doubtful),
        (by_kind(found, "state"),),
    )


def load_report(
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    result: LoadResult,
    noted: Noted[NotedDocument],
) -> Report:
    """Return the report of a load."""
    for failure in result.failures:
        noted(FAILED, NotedDocument("", failure.id, failure.reason))
    found = tallies(target, result.outcomes)
    doubtful = [*attention(found, manifests, noted), *_raised(target, result.raised)]
    verdict, lead = _load_verdict(result, _cards(target, sources))
    lead += [_seen(target, sources, result.documents), *left_out(manifests)]
    if result.created_databases:
        lead.append(f"The load has created {_databases(result.created_databases)}.")
    if result.nodes_away:
        doubtful.append(
            Attention(
                f"{many(len(result.nodes_away), 'node')} of the cluster away",
                "Start what is away; until then copies may be short. The cluster makes them up by itself.",
                items=result.nodes_away,
            )
        )
    return Report(
        about("Load", manifests),
        verdict,
        Tone.ATTENTION if doubtful else Tone.GOOD,
        tuple(lead),
        "documents",
        tuple(Share(outcome.value, result.count(outcome), text, tone) for outcome, (tone, text) in _OUTCOMES.items()),
        tuple(doubtful),
        (by_kind(found, "outcome"),),
    )


def _raised(target: Target, raised: Mapping[str, Environment]) -> Iterator[Attention]:
    """Tell which databases become more protected than they were."""
    if raised:
        yield Attention(
            f"{many(len(raised), 'database')} of a less protected environment before",
            f"Look for sample data and log-ins from then, which have no place in {target.environment}; or use new "
            "databases.",
            items=tuple(f"{name} was loaded as {environment}" for name, environment in raised.items()),
        )


def _load_verdict(result: LoadResult, cards: int) -> tuple[str, list[str]]:
    """Return the verdict on a load, and what is to be said behind it."""
    good = result.documents - result.needs_attention
    if result.needs_attention:
        rest = f"The other {many(good, 'document')} {are(good)} in place."
        return f"{_need(result.needs_attention)} attention.", [rest] if good else []
    if result.nodes_away:
        return "Everything has been written, but a part of the cluster was away.", []
    verdict = f"{_all(cards, 'card')} loaded." if cards else f"{_all(good, 'document')} in place."
    return verdict, list(_kept(result))


def _kept(result: LoadResult) -> Iterator[str]:
    """Tell what was left because somebody wanted it otherwise."""
    edited, deleted = result.count(Outcome.EDITED), result.count(Outcome.DELETED)
    if edited or deleted:
        said = [f"{many(edited, 'document')} changed by their owners"] if edited else []
        said += [f"{many(deleted, 'document')} deleted since an earlier load"] if deleted else []
        yield f"Left as they are: {listed(said)}."


def _cards(target: Target, sources: Sequence[Source]) -> int:
    """Return how many cards the sources are of: each has one document of a kind."""
    kind = next(kind.name for kind in target.model.kinds if Role.CARD in kind.roles)
    return sum(source.count for source in sources if source.role is Role.CARD and source.kind == kind)


def _seen(target: Target, sources: Sequence[Source], documents: int) -> str:
    cards = _cards(target, sources)
    whose = f"{many(cards, 'card')}, the snapsets and the views" if cards else "the snapsets and the views"
    return f"{many(documents, 'document')} in all: those of {whose}."


def _need(count: int) -> str:
    return f"{many(count, 'document')} {'needs' if count == 1 else 'need'}"


def _all(count: int, one: str) -> str:
    return f"The one {one} is" if count == 1 else f"All {many(count, one)} are"


def _databases(names: Sequence[str]) -> str:
    return f"the {'database' if len(names) == 1 else 'databases'} {listed(names)}"
