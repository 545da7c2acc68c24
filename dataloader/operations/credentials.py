"""Credentials of sites: give their pilot computers access, and revoke it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from dataloader.common import (
    BATCH_DOCUMENTS,
    AttentionError,
    Document,
    InputError,
    Problem,
    ProtocolError,
    UsageError,
    did_you_mean,
    explain,
    live_leaves,
    new_files,
    now,
    raise_problems,
)
from dataloader.couch import Database, NotFoundError, Server
from dataloader.operations.card_answers import missing
from dataloader.operations.documents import sources_of
from dataloader.operations.identity import Identities
from dataloader.operations.sources import Source, design_sources
from dataloader.records import (
    CLIENT,
    Secret,
    Site,
    client_database,
    client_ids_of,
    credential_document,
    has_credentials_apart,
    new_secret,
    site_documents,
)
from dataloader.records.models import Model
from dataloader.records.views import DESIGN
from dataloader.replication import write_over
from dataloader.target import Target, check_marker, guard

DOCUMENTS_SUFFIX = ".documents.json"
"""The suffix of the file with a site's documents."""
_VIEW = "findClientByOauth2ClientId"
_COMMON = "http://registry.gpii.net/common/"
_ROUNDS = 20
"""How often to retry a document that others keep changing."""


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """The files written for a site."""

    secret: Path
    """The input of its computers' installer."""
    documents: Path
    """The input of ``load --documents``; contains the secret, too."""


@dataclass(frozen=True, slots=True)
class FoundClient:
    """A client with access."""

    id: str
    """The ``_id`` of the client's document."""
    name: str
    created: str
    """Empty if the model does not store it."""
    allowed_ips: tuple[str, ...]
    """Empty for any."""
    allowed_terms: tuple[str, ...]
    """Empty for any."""
    document: Document
    """The document that gives it access: the client itself, or its credential; with ``_rev``."""


def check_site(model: Model, site: str, what: Site) -> Site:
    """Check a site's options, and return it with full term URIs.

    Raises:
        UsageError: the model has no address blocks or terms for sites.
        InputError: the site's name can't be used in a file name, or an address block or term is invalid.
    """
    if not has_credentials_apart(model) and (what.allowed_ips or what.allowed_terms):
        raise UsageError(
            "--allow-ip --allow-pref",
            rule=f"model {model.name} can't limit what a site's computers do",
            todo="leave them out",
        )
    problems = []
    if not site or not all(each.isascii() and (each.isalnum() or each in "-_.") for each in site) or site[0] in "-.":
        rule = "a name must consist of letters, digits, - _ . and not begin with - or ."
        problems.append(Problem(f"site {site}", rule, "choose another"))
    if not what.name.strip():
        problems.append(Problem("--name", "is empty", "give the name that people see"))
    terms = tuple(each if each.startswith("http") else f"{_COMMON}{each}" for each in what.allowed_terms)
    for option, schema, values in (
        ("--allow-ip", "common/ip-block", what.allowed_ips),
        ("--allow-pref", "common/term", terms),
    ):
        problems += [
            Problem(f"{option} {value}", rule.removeprefix(": "), "correct it")
            for value in values
            for rule in explain(schema, value)
        ]
    raise_problems(problems)
    return replace(what, allowed_terms=terms)


def free_client_id(server: Server, target: Target, site: str) -> str:
    """Return the ``_id`` for a new client of a site on a target.

    Raises:
        InputError: the site already has access, or has been created too often.
    """
    server.welcome()
    guard(server, target)
    database = _database(server, target)
    ids = client_ids_of(site)
    leaves = database.leaves(ids) if database.exists() else {}
    if any(map(live_leaves, leaves.values())):
        todo = "use `credentials rotate` for a new secret, or choose another name"
        raise InputError(Problem(f"site {site}", "already exists on this target", todo))
    for client_id in ids:
        if not leaves.get(client_id):
            return client_id
    raise InputError(Problem(f"site {site}", "was revoked and created too often", "choose another name"))


def create_files(
    model: Model, site: str, what: Site, folder: Path, client_id: str | None = None
) -> tuple[SiteFiles, list[Document]]:
    """Create the credentials of a site, and write them to two new private files.

    Args:
        model: the document model.
        site: the site's short name.
        what: the site; see ``check_site``.
        folder: the folder of the files.
        client_id: the ``_id`` of its client, from ``free_client_id``; None for the first one.

    Returns:
        The files, and the documents.

    Raises:
        FileError: a file already exists, or can't be written.
    """
    secret = new_secret()
    documents = site_documents(model, client_id or client_ids_of(site)[0], what, secret)
    return _write(site, site, secret, documents, folder), documents


def _write(site: str, file_name: str, secret: Secret, documents: Sequence[Document], folder: Path) -> SiteFiles:
    files = SiteFiles(folder / f"{file_name}.secret.json", folder / f"{file_name}{DOCUMENTS_SUFFIX}")
    installer = {
        "site": site,
        "clientCredentials": {"client_id": secret.client_id, "client_secret": secret.client_secret},
    }
    with new_files(files.secret, files.documents) as streams:
        for stream, data in zip(streams, (installer, {"docs": documents}), strict=True):
            stream.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
    return files


def site_sources(model: Model, site: str, documents: Sequence[Document]) -> list[Source]:
    """Return the sources of a site's documents, and of the views that find them."""
    return [*sources_of(model, documents, f"credentials of site {site}"), *design_sources(model)]


def find_clients(server: Server, target: Target) -> list[FoundClient]:
    """Return the clients of pilot computers on a target, sorted by name, without revoked ones.

    Raises:
        ProtocolError: the database or its views do not exist.
        ProtectedError: a database was loaded as a more protected environment.
    """
    server.welcome()
    guard(server, target)
    return clients_of(_database(server, target), target.model)


def clients_of(database: Database, model: Model) -> list[FoundClient]:
    """Return the clients in a database; see ``find_clients``."""
    found: dict[str, FoundClient] = {}
    start: object = None
    apart = has_credentials_apart(model)
    names: dict[str, Any] = {}
    try:
        while True:
            rows = database.view_page(DESIGN, _VIEW, limit=BATCH_DOCUMENTS, start=start)
            new = [row for row in rows if row["id"] not in found]
            documents = [_client(row, apart=apart) for row in new]
            for row, document in zip(new, documents, strict=True):
                if document.get("_id") != row["id"]:
                    rule = "its view of clients is not ours"
                    raise ProtocolError(
                        f"database {database.name}", rule=rule, todo="load with --snapsets-only --replace-views"
                    )
            if apart:
                ids = sorted({str(each["clientId"]) for each in documents if each and "clientId" in each})
                names |= {row["key"]: (row.get("doc") or {}).get("name", "") for row in database.all_docs(ids)}
            for row, document in zip(new, documents, strict=True):
                found[row["id"]] = _found(row["id"], document, names, apart=apart)
            if len(rows) < BATCH_DOCUMENTS or not new:
                break
            start = rows[-1]["key"]
    except NotFoundError as error:
        raise missing(database, _VIEW) from error
    wanted = (each for each in found.values() if apart or each.document.get("type") == CLIENT)
    return sorted(wanted, key=lambda each: (each.name, each.id, each.created))


def _client(row: dict[str, Any], *, apart: bool) -> Document:
    value = row.get("value")
    found = value.get("clientCredential") if apart and isinstance(value, dict) else value
    return found if isinstance(found, dict) else {}


def _found(doc_id: str, document: Document, names: dict[str, Any], *, apart: bool) -> FoundClient:
    client = str(document.get("clientId", "")) if apart else doc_id
    name = names.get(client, "") if apart else document.get("name", "")
    created = str(document.get("timestampCreated") or "")
    ips, terms = (_listed(document.get(member)) for member in ("allowedIPBlocks", "allowedPrefsToWrite"))
    return FoundClient(client, str(name), created, ips, terms, document)


def _listed(value: object) -> tuple[str, ...]:
    """Return a list's items; others may have written anything, and that must not stop a revocation."""
    return tuple(map(str, value)) if isinstance(value, list) else () if value is None else (str(value),)


def _database(server: Server, target: Target) -> Database:
    return server.database(target.database(client_database(target.model)))


def find_site(server: Server, target: Target, site: str) -> list[FoundClient]:
    """Find a site's client by its short name, the client's ``_id`` or the display name.

    Raises:
        InputError: there is none, or several sites have the name.
        ProtocolError: the database or its views do not exist.
    """
    clients = find_clients(server, target)
    for same in (
        [each for each in clients if each.id in {*client_ids_of(site), site}],
        [each for each in clients if each.name == site],
    ):
        if len({each.id for each in same}) > 1:
            ids = ", ".join(sorted({each.id for each in same}))
            raise InputError(Problem(f"site {site}", "is the name of several clients", f"give the ID of one: {ids}"))
        if same:
            return same
    names = sorted({each.name or each.id for each in clients})
    known = f"known: {', '.join(names)}" if names else "no site has any; use `dataloader credentials create`"
    todo = did_you_mean(site, names) or known
    raise InputError(Problem(f"site {site}", "has no credentials on this target", todo))


def revoke_site(server: Server, target: Target, site: str, reason: str) -> int:
    """Revoke a site's access at once: delete the document that gives access, so that issued tokens fail, too.

    (The servers of 2017-11-01 do not check tokens; see docs/servers.md.)

    Returns:
        The number of deleted documents.

    Raises:
        InputError: there is no such site.
        AttentionError: somebody keeps changing its documents.
        ProtocolError: the database was recreated or restored meanwhile.
    """
    found = find_site(server, target, site)
    identities = Identities(server, target)
    database, clients = _database(server, target), {client.id for client in found}
    done: list[str] = []
    # Somebody may rotate its secret meanwhile.
    while new := [client for client in found if client.document["_id"] not in done]:
        # The document that gives access comes first.
        ids = dict.fromkeys([client.document["_id"] for client in new] + [client.id for client in new])
        for doc_id in ids:
            _delete(database, target, doc_id, reason)
        done = [*dict.fromkeys([*done, *ids])]
        found = [client for client in clients_of(database, target.model) if client.id in clients]
    identities.note_writes()
    identities.check("the site was revoked")
    return len(done)


def _delete(database: Database, target: Target, doc_id: str, reason: str) -> None:
    for _ in range(_ROUNDS):
        # Check each time: somebody may have marked the database as more protected meanwhile.
        check_marker(database, target)
        live = live_leaves(database.leaves([doc_id], all_copies=True)[doc_id])
        if not live:
            return
        # All leaves: any that is left would become the winner. The secret is not kept.
        for rejected in database.edit([_tombstone(leaf, reason) for leaf in live[:1]]):
            raise AttentionError(
                f"document {doc_id}",
                rule=f"the server does not accept that it is deleted ({rejected.reason})",
                todo="find out what refuses it, then run it again",
            )
    raise AttentionError(f"document {doc_id}", rule="others keep changing it", todo="run it again")


def _tombstone(leaf: Document, reason: str) -> Document:
    kept: Document = {name: leaf[name] for name in ("_id", "_rev", "type", "name", "clientId") if name in leaf}
    return {**kept, "_deleted": True, "revoked": True, "revokedReason": reason, "timestampRevoked": now()}


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is needed to rotate a site's secret, after the new one is on disk."""

    site: str
    files: SiteFiles
    documents: list[Document]
    """With ``_rev`` if a document is to be replaced."""
    old: list[FoundClient]


def prepare_rotation(server: Server, target: Target, site: str, folder: Path) -> Rotation:
    """Create a new secret for a site, and write it to two new files; the target is not changed yet.

    Raises:
        InputError: there is no such site.
        FileError: a file already exists, or can't be written.
    """
    old = find_site(server, target, site)
    created = now()
    secret = new_secret()
    newest = max(old, key=lambda each: each.created)
    if has_credentials_apart(target.model):
        what = Site(newest.name, created, newest.allowed_ips, newest.allowed_terms)
        documents = [credential_document(newest.id, what, secret)]
    else:
        changed = {"oauth2ClientId": secret.client_id, "oauth2ClientSecret": secret.client_secret}
        documents = [{**newest.document, **changed}]
    digits = "".join(each for each in created if each.isdigit())[:14]
    bare = [{name: value for name, value in each.items() if name != "_rev"} for each in documents]
    files = _write(site, f"{site}.rotated-{digits}", secret, bare, folder)
    return Rotation(site, files, documents, old)


def rotate(server: Server, target: Target, rotation: Rotation) -> None:
    """Give a site access with its new secret, then remove the old one.

    Raises:
        AttentionError: the server rejected the new one, or the site was revoked meanwhile.
        ProtectedError: the database was loaded as a more protected environment.
        ProtocolError: the database was recreated or restored meanwhile.
    """
    database = _database(server, target)
    check_marker(database, target)
    identities = Identities(server, target)
    for written in write_over(database, rotation.documents):
        # After a lost reply, the retry is rejected as a conflict, though the first attempt was written.
        if not written.is_plain and written.own is None:
            raise AttentionError(
                f"site {rotation.site}",
                rule=f"the server rejected its new secret ({written.reason}), which does not work",
                todo="delete the new files, and run it again",
            )
    if has_credentials_apart(target.model):
        for client in rotation.old:
            _delete(database, target, client.document["_id"], "rotated")
        _require_client(database, target, rotation)
    identities.note_writes()
    identities.check("the secret was rotated")


def _require_client(database: Database, target: Target, rotation: Rotation) -> None:
    """Delete the new secret of a site that was revoked meanwhile.

    Raises:
        AttentionError: it was.
    """
    clients = [str(document["clientId"]) for document in rotation.documents]
    if any(map(live_leaves, database.leaves(clients, all_copies=True).values())):
        return
    for document in rotation.documents:
        _delete(database, target, document["_id"], "revoked")
    raise AttentionError(
        f"site {rotation.site}",
        rule="was revoked meanwhile, so its new secret does not work either",
        todo="delete the new files",
    )
