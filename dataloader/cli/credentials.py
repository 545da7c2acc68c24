"""The command ``credentials``: give a site's pilot computers access, or revoke it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click
from click.core import ParameterSource

from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled, confirmed
from dataloader.cli._next import on_any_target, target_words
from dataloader.cli._options import PATH, TargetOptions, get_server, get_target, target_options
from dataloader.cli._output import Output, global_options, tell_of_copies
from dataloader.cli._table import table
from dataloader.cli._write import carry_out
from dataloader.common import ExitCode, UsageError, listed, many, now
from dataloader.operations import (
    FoundClient,
    LoadOptions,
    check_site,
    create_files,
    find_clients,
    find_site,
    free_client_id,
    prepare_rotation,
    revoke_site,
    rotate,
    site_sources,
)
from dataloader.records import Site
from dataloader.records.models import get_model

_ACTIONS = {"create": {"name", "allow_ip", "allow_pref", "out"}, "list": set(), "revoke": {"reason"}, "rotate": {"out"}}
"""The actions, each with the options that apply to it."""


@command(short_help="Manage the credentials of a site's pilot computers.")
@click.argument("action", type=click.Choice(list(_ACTIONS)), metavar="create|list|revoke|rotate")
@click.argument("site", required=False)
@click.option("--name", metavar="TEXT", help="With create: the name that people see.")
@click.option(
    "--allow-ip",
    multiple=True,
    metavar="BLOCK",
    help="With create: an address block that may log in (default: any); repeatable.",
)
@click.option(
    "--allow-pref",
    multiple=True,
    metavar="TERM",
    help="With create: a term that may be written (default: any); repeatable.",
)
@click.option("--out", type=PATH, metavar="DIR", help="With create and rotate: the folder of the new secret file.")
@click.option("--reason", default="revoked", metavar="TEXT", help="With revoke: why; kept with what is deleted.")
@click.option("--yes", is_flag=True, help="With revoke: do not ask first.")
@target_options
@global_options
@click.pass_obj
def credentials(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    action: str,
    site: str | None,
    name: str | None,
    allow_ip: tuple[str, ...],
    allow_pref: tuple[str, ...],
    out: Path | None,
    reason: str,
    yes: bool,
) -> ExitCode:
    """Create, list, revoke or rotate the credentials of a site's pilot computers.

    `create` writes SITE.secret.json, for the installer of the site's computers, and SITE.documents.json, which it loads
    into the target. With --model instead of a target, load that file later with `load --documents`. The secret is never
    printed.

    `rotate` replaces the secret. `revoke` ends the access of the site's computers at once.

    \b
    Example:
      dataloader credentials create library --name "Example Library" --out secrets --target production
    """
    _check_options(action)
    if action == "list":
        if site is not None:
            raise UsageError(f"credentials list {site}", rule="takes no site", todo="leave it out")
        return _list(output, target_options)
    if site is None:
        raise UsageError(f"credentials {action}", rule="needs a site", todo=f"as in: credentials {action} library")
    if action == "revoke":
        return _revoke(output, target_options, site, reason, yes=yes)
    if out is None:
        raise UsageError(f"credentials {action}", rule="needs a folder for the secret file", todo="add --out DIR")
    if action == "rotate":
        return _rotate(output, target_options, site, out)
    if name is None:
        raise UsageError("credentials create", rule="needs the name that people see", todo='add --name "TEXT"')
    return _create(output, target_options, site, Site(name, now(), allow_ip, allow_pref), out)


def _check_options(action: str) -> None:
    """Refuse an option of another action: somebody who gives a limit to `rotate` would think that it applies.

    Raises:
        UsageError: one is given.
    """
    context = click.get_current_context()
    for name in sorted(set().union(*_ACTIONS.values()) - _ACTIONS[action]):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            of = listed([each for each, options in _ACTIONS.items() if name in options])
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"credentials {action}", rule=f"takes no {option}", todo=f"leave it out; it is for {of}")


def _create(output: Output, options: TargetOptions, site: str, what: Site, folder: Path) -> ExitCode:
    if not options.is_named and options.model is not None:
        model = get_model(options.model)
        files, _ = create_files(model, site, check_site(model, site, what), folder)
        output.result(
            {"secret_file": str(files.secret), "documents_file": str(files.documents), "loaded": False},
            [f"wrote {files.secret} and {files.documents}"],
        )
        # Loading writes, and the target is not known.
        output.next(on_any_target(f"dataloader load --documents {quote(str(files.documents))} --dry-run"))
        return ExitCode.OK
    target = get_target(output, options)
    what = check_site(target.model, site, what)
    server = get_server(target)
    files, documents = create_files(target.model, site, what, folder, free_client_id(server, target, site))
    output.say(f"wrote {files.secret} and {files.documents}")
    sources = site_sources(target.model, site, documents)

    def still_free() -> bool:
        # Somebody else may have created the site since: of two secrets, one would not work.
        free_client_id(server, target, site)
        return False

    _, _, code = carry_out(output, server, target, sources, LoadOptions(), before=still_free)
    if code is ExitCode.OK:
        _hand_over(output, files.secret)
    return code


def _hand_over(output: Output, secret: Path) -> None:
    """Print what to do with a new secret."""
    check = f"dataloader check{target_words(click.get_current_context())}"
    output.next(f"give {secret} to the site's installer, then {check}")


def _list(output: Output, options: TargetOptions) -> ExitCode:
    target = get_target(output, options)
    found = find_clients(get_server(target), target)
    output.result({"clients": [_client_json(each) for each in found]}, _client_text(output, found))
    return ExitCode.OK


def _client_json(client: FoundClient) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "created": client.created or None,
        "allowed_ips": list(client.allowed_ips) or None,
        "allowed_prefs": list(client.allowed_terms) or None,
    }


def _client_text(output: Output, found: Sequence[FoundClient]) -> Iterator[str]:
    if not found:
        yield "no site has credentials"
        return
    rows = [
        (
            each.name or "(no name)",
            output.shown(each.id),
            each.created[:10] or "-",
            ", ".join(each.allowed_ips) or "any address",
            ", ".join(each.allowed_terms) or "any term",
        )
        for each in found
    ]
    yield from table(rows, ("name", "client", "created", "addresses", "terms"))


def _revoke(output: Output, options: TargetOptions, site: str, reason: str, *, yes: bool) -> ExitCode:
    target = get_target(output, options)
    server = get_server(target)
    find_site(server, target, site)
    if not yes and not confirmed(f"the pilot computers of site {site} will lose access to {target.where}"):
        return cancelled(output)
    count = revoke_site(server, target, site, reason)
    output.result({"site": site, "deleted": count}, [f"revoked site {site}: {many(count, 'document')} deleted"])
    return tell_of_copies(output, server.nodes().away, short=server.short_of_copies)


def _rotate(output: Output, options: TargetOptions, site: str, folder: Path) -> ExitCode:
    target = get_target(output, options)
    server = get_server(target)
    rotation = prepare_rotation(server, target, site, folder)
    rotate(server, target, rotation)
    files = rotation.files
    output.result(
        {"site": site, "secret_file": str(files.secret), "documents_file": str(files.documents)},
        [f"wrote {files.secret}; the old secret no longer works"],
    )
    _hand_over(output, files.secret)
    return tell_of_copies(output, server.nodes().away, short=server.short_of_copies)
