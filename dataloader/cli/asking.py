"""Commands that ask a target and change nothing: check, verify."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click
import orjson

from dataloader.check import CheckResult
from dataloader.check import check as check_target
from dataloader.cli.options import (
    details_option,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    left_out_json,
    left_out_text,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
    tell_of_reconciled,
)
from dataloader.cli.output import Output, global_options
from dataloader.cli.progress import Progress
from dataloader.cli.reporting import reporting
from dataloader.errors import ExitCode
from dataloader.files import new_files
from dataloader.manifest import CardFile
from dataloader.report.model import many
from dataloader.report.noted import Noted
from dataloader.report.verifying import verify_report
from dataloader.security import Circle, SecurityResult, check_security
from dataloader.targets import Target
from dataloader.verify import CardVerdict, Verdict, VerifyResult
from dataloader.verify import verify as verify_cards

SHOWN_VERDICTS = 20
"""Cards that are named on the screen."""


@click.command(short_help="Tell whether a target is there and ready.")
@target_options
@click.option(
    "--security",
    "with_security",
    is_flag=True,
    help="Try what a client without credentials could read and write, and look at who else may; writes nothing.",
)
@global_options
@click.pass_obj
def check(output: Output, /, *, with_security: bool, **options: Any) -> ExitCode:
    """Tell whether a target is there and ready: server, credentials, databases, views, nodes.

    With --security, whether it is closed to everybody else: what is open comes first, with exit code 9.

    \b
    Example:
      dataloader check --target production --security
    """
    target = get_target(output, options)
    server = get_server(target)
    result = check_target(server, target)
    security = check_security(server, target) if with_security else None
    problems, code = result.problems, result.exit_code
    if security is not None:
        problems, code = [*security.problems, *problems], security.exit_code or code
    output.result(_check_json(target, result, security, problems), _check_text(target, result, security, problems))
    if code is ExitCode.OK:
        output.warnings(problems)
    else:
        output.error("\n".join(problems), code)
    return code


def _check_json(
    target: Target, result: CheckResult, security: SecurityResult | None, problems: list[str]
) -> dict[str, Any]:
    return {
        "url": target.address.url,
        "urls": {url: result.unanswering.get(url) for url in target.address.urls},
        "server": result.welcome.product,
        "version": result.welcome.version,
        "model": target.model.name,
        "environment": target.environment.value,
        "user": result.user,
        "admin": result.admin,
        "databases": {
            database.name: {
                "exists": database.exists,
                "documents": database.documents,
                "environment": None if database.remembers is None else database.remembers.value,
                "views": None if database.views is None else _views_word(database.views.value),
            }
            for database in result.databases
        },
        "nodes": {
            "expected": list(result.nodes.expected),
            "connected": list(result.nodes.connected),
            "away": list(result.nodes.away),
        },
        **({} if security is None else {"security": _security_json(security)}),
        "problems": problems,
    }


def _security_json(security: SecurityResult) -> dict[str, Any]:
    return {
        "anonymous_user": security.anonymous,
        "anonymous_admin": security.admin_party,
        "anonymous_names_databases": security.names_databases,
        "plain_http": security.plain_http,
        "unverified": security.unverified,
        "databases": {
            each.name: {
                "anonymous_reads": each.readable,
                "anonymous_writes": each.writable,
                "rules": None if each.rules is None else asdict(each.rules),
                "samples": each.samples,
            }
            for each in security.databases
        },
    }


def _views_word(state: str) -> str:
    return "current" if state == "unchanged" else state


def _check_text(
    target: Target, result: CheckResult, security: SecurityResult | None, problems: list[str]
) -> Iterator[str]:
    yield f"server     {result.welcome.product} {result.welcome.version} at {', '.join(target.address.urls)}"
    yield f"target     model {target.model.name}, environment {target.environment.value}"
    who = result.user or "anonymous"
    yield f"user       {who}, {'server admin' if result.admin else 'no server admin'}"
    for database in result.databases:
        size = f"{database.documents:,} documents" if database.exists else "not there yet"
        views = f", views {_views_word(database.views.value)}" if database.views is not None else ""
        loaded_as = f", loaded as {database.remembers}" if database.remembers is not None else ""
        yield f"database   {database.name}: {size}{loaded_as}{views}"
    if result.nodes.expected:
        there = len(set(result.nodes.expected) - set(result.nodes.away))
        yield f"nodes      {there} of {len(result.nodes.expected)} are there"
    if security is not None:
        yield from _security_text(security)
    if not problems:
        yield "ready"


def _security_text(security: SecurityResult) -> Iterator[str]:
    if security.admin_party:
        yield "strangers  are server admins"
    for each in security.databases:
        may = [word for word, can in (("read", each.readable), ("write", each.writable)) if can]
        members = "not told" if each.rules is None else _circle_text(each.rules.members)
        yield f"strangers  {each.name}: can {' and '.join(may) or 'do nothing'}; members: {members}"


def _circle_text(circle: Circle) -> str:
    return ", ".join([*circle.names, *(f"role {role}" for role in circle.roles)]) or "everybody"


@click.command(short_help="Ask as the real servers do for every card.")
@manifest_argument(required=True)
@target_options
@snapset_options
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Ask for N cards of each batch, chosen at random."
)
@details_option("card that is not as it was minted")
@report_options
@global_options
@click.pass_obj
def verify(
    output: Output,
    /,
    manifests: tuple[Path, ...],
    snapsets_dir: Path | None,
    sample: int | None,
    details: Path | None,
    *,
    strict: bool,
    **options: Any,
) -> ExitCode:
    """Ask the target for every card as the real servers do, and check each answer.

    \b
    Example:
      dataloader verify batches/spring.batch.jsonl --target production --sample 200
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    read = get_manifests(manifests)
    tell_of_reconciled(output, read)
    server = get_server(target)
    progress = Progress(output, "cards")
    with (
        reporting(output, options, "Verification", read, target, server) as report,
        _verdicts(output, details) as verdicts,
    ):
        try:
            result = verify_cards(
                server, target, read, snapsets, sample=sample, on_progress=progress, on_verdict=verdicts
            )
        finally:
            progress.close()
        output.result(
            {**verify_json(result), "left_out": left_out_json(read)}, [*left_out_text(read), *verify_text(result)]
        )
        for line in verdicts.lines:
            output.warn(line)
        code = ExitCode.OK if result.good else ExitCode.VERIFY
        report(lambda: verify_report(read, result, verdicts.noted), code)
    if code is not ExitCode.OK:
        bad = result.verdicts[Verdict.MISSING] + result.verdicts[Verdict.WRONG]
        output.error(
            f"{many(bad, 'card')} would not work (load the batch; what is wrong then, a person has to look at)", code
        )
    return code


class _Verdicts:
    """Collects what is to be told of cards: the first few for the screen, more for the report, all for the file."""

    def __init__(self, output: Output, stream: IO[bytes] | None) -> None:
        self._output = output
        self._stream = stream
        self.lines: list[str] = []
        self.noted: Noted[CardVerdict] = Noted()

    def __call__(self, manifest: CardFile, card: CardVerdict) -> None:
        batch = manifest.header.name
        if self._stream is not None:
            record = {"batch": batch, "uuid": card.uuid, "verdict": card.verdict.value, "reason": card.reason}
            self._stream.write(orjson.dumps(self._output.cleaned(record)) + b"\n")
        if card.verdict in {Verdict.MISSING, Verdict.WRONG}:
            self.noted(card.verdict, card)
        elif not card.is_odd:
            return
        if len(self.lines) < SHOWN_VERDICTS:
            self.lines.append(f"batch {batch}, card {card.uuid}: {card.verdict.value}: {card.reason}")


@contextmanager
def _verdicts(output: Output, details: Path | None) -> Iterator[_Verdicts]:
    with ExitStack() as stack:
        stream = None
        if details is not None:
            (stream,) = stack.enter_context(new_files(details))
        yield _Verdicts(output, stream)


def verify_json(result: VerifyResult) -> dict[str, Any]:
    """Return the verdicts as data."""
    return {
        **{verdict.value: result.verdicts[verdict] for verdict in Verdict},
        "cards": result.verdicts.total(),
        "answers": result.answers,
        "seconds": round(result.seconds, 3),
    }


def verify_text(result: VerifyResult) -> Iterator[str]:
    """Yield the verdicts as lines."""
    parts = [f"{result.verdicts[verdict]:,} {verdict.value}" for verdict in Verdict if result.verdicts[verdict]]
    yield f"{many(result.verdicts.total(), 'card')} asked for in {result.seconds:.1f} s: {', '.join(parts) or 'none'}"
