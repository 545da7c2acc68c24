"""Options that several commands share: the target, the snapsets, the manifests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from dataloader.batch import CardFile, Reconciled, Verdict, find_reconciled, read_cards
from dataloader.cli._output import Output
from dataloader.common import DataloaderError
from dataloader.couch import Server, Tls
from dataloader.records import Snapsets, read_snapsets
from dataloader.records.models import model_names
from dataloader.target import Environment, Target, resolve

Function = TypeVar("Function", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)

_TARGET_OPTIONS = (
    click.option("--target", metavar="NAME", help="A target of the target file."),
    click.option(
        "--url",
        metavar="URL",
        multiple=True,
        help="The server's URL, instead; once for each node of a cluster, where there are several. "
        "Default: the environment's COUCHDB_URL.",
    ),
    click.option(
        "--model", type=click.Choice(model_names()), help="With --url: the document model; default gpii-token."
    ),
    click.option(
        "--environment",
        type=click.Choice([each.value for each in Environment]),
        help="With --url: what the target is for; must be said for another machine.",
    ),
    click.option("--prefix", metavar="TEXT", help="With --url: what stands before each database's name."),
    click.option(
        "--ca-file",
        type=PATH,
        metavar="FILE",
        help="With --url: the certificates of the authorities to trust, in place of the system's.",
    ),
    click.option("--client-cert", type=PATH, metavar="FILE", help="With --url: the certificate to show to the server."),
    click.option("--client-key", type=PATH, metavar="FILE", help="Its key, where that is not in the same file."),
    click.option(
        "--insecure", is_flag=True, help="With --url: do not verify who the server is; never in staging and production."
    ),
    click.option("--config", type=PATH, metavar="FILE", help="The target file; default dataloader.toml."),
)


def target_options(function: Function) -> Function:
    """Add the options that say which CouchDB is meant."""
    for option in reversed(_TARGET_OPTIONS):
        function = option(function)
    return function


def snapset_options(function: Function) -> Function:
    """Add the options that say where the snapsets are."""
    function = click.option("--strict", is_flag=True, help="Take an unknown term for an error.")(function)
    return click.option(
        "--snapsets",
        "snapsets_dir",
        type=PATH,
        metavar="DIR",
        help="The folder of the snapsets; default: the built-in ones.",
    )(function)


def details_option(what: str) -> Callable[[Function], Function]:
    """Add the option for a file with everything that there is to tell.

    Args:
        what: of what there is a line: ``document that …``.
    """
    return click.option(
        "--details", type=PATH, metavar="FILE", help=f"Write a line of JSON for every {what} to a new file."
    )


def report_options(function: Function) -> Function:
    """Add the options for the report; ``reporting`` takes them."""
    function = click.option("--full", is_flag=True, help="With --report: show whole UUIDs, not their beginnings.")(
        function
    )
    return click.option(
        "--report", type=PATH, metavar="FILE", help="Write a report for people to a new file: one HTML page."
    )(function)


def manifest_argument(*, required: bool) -> Callable[[Function], Function]:
    """Add the argument for manifests."""
    metavar = "MANIFEST..." if required else "[MANIFEST]..."
    return click.argument("manifests", nargs=-1, required=required, type=PATH, metavar=metavar)


def get_target(output: Output, options: dict[str, Any]) -> Target:
    """Find the target that the options mean, and take them out of ``options``."""
    names = ("target", "url", "model", "environment", "prefix", "config")
    given = {name: options.pop(name) for name in names}
    tls = Tls(**{each.name: options.pop(each.name) for each in fields(Tls)})
    target = resolve(**{**given, "url": given["url"] or None}, tls=None if tls == Tls() else tls)
    output.secrets = target.address.secrets
    for warning in target.warnings:
        output.warn(warning)
    return target


def get_snapsets(output: Output, folder: Path | None, *, strict: bool) -> Snapsets:
    """Read the snapsets and tell what was noticed."""
    snapsets = read_snapsets(folder, strict=strict)
    output.warnings(snapsets.warnings)
    return snapsets


def get_manifests(paths: Sequence[Path]) -> list[CardFile]:
    """Check manifests and reconciled files, each as a whole."""
    return [read_cards(path) for path in paths]


def tell_of_reconciled(output: Output, manifests: Sequence[CardFile]) -> None:
    """Warn where cards are in doubt that a reconciled file tells of, and where one has none that is not."""
    for each in manifests:
        if isinstance(each, Reconciled):
            if not each.count:
                output.warn(f"{each.path}: none of its cards is encoded; is it of the right returned file?")
            continue
        try:
            found = find_reconciled(each)
        except DataloaderError:
            # It was not asked for.
            continue
        if found is not None and (doubtful := each.header.cards - found.count):
            output.warn(
                f"{each.path}: {doubtful:,} of its {each.header.cards:,} cards have not come back encoded, by "
                f"{found.path}; give that in the manifest's place to leave them out"
            )


def left_out_json(manifests: Sequence[CardFile]) -> dict[str, int]:
    """Return how many cards reconciled files leave out, by verdict."""
    found = [each.counts.left_out for each in manifests if isinstance(each, Reconciled)]
    return {verdict.value: sum(counts[verdict] for counts in found) for verdict in Verdict if verdict != "encoded"}


def left_out_text(manifests: Sequence[CardFile]) -> Iterator[str]:
    """Yield a line for each reconciled file that leaves cards out."""
    for each in manifests:
        if isinstance(each, Reconciled) and each.count < each.header.cards:
            parts = [f"{count:,} {verdict.value}" for verdict, count in each.counts.left_out.items() if count]
            spares = each.counts.spares_unused
            unused = f" ({spares:,} of them unused spares)" if spares else ""
            left = f"{each.header.cards - each.count:,} of {each.header.cards:,} cards"
            yield f"batch {each.header.name}: left out {left}, which are not encoded: {', '.join(parts)}{unused}"


def raised_text(target: Target, raised: Mapping[str, Environment]) -> Iterator[str]:
    """Yield the warnings for databases that become more protected than they were."""
    for name, environment in raised.items():
        yield (
            f"{name} was loaded as {environment}, and may hold sample data and log-ins from then, which have no place "
            f"in {target.environment}; look for them, or use new databases"
        )


def get_server(target: Target) -> Server:
    """Return the target's server."""
    return Server(target.address)
