"""How a target is protected: what would a client without credentials get, and what do the databases say of who may?

The first is tried, in a session of its own that has no user; nothing is written by that. The second is read
from each database's ``_security``: https://docs.couchdb.org/en/3.5.0/api/database/security.html.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dataloader.common import CredentialsError, ExitCode, ProtocolError, TooLargeError
from dataloader.couch import Database, NotFoundError, Server
from dataloader.operations.seed import sample_ids
from dataloader.target import Target, is_this_machine

_CLOSE = '{"admins": {"roles": ["_admin"]}, "members": {"names": ["THE-SERVERS-USER"], "roles": ["_admin"]}}'


@dataclass(frozen=True, slots=True)
class Circle:
    """Names and roles, as one half of ``_security`` lists them."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anybody is in it."""
        return bool(self.names or self.roles)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a database's ``_security`` says."""

    admins: Circle
    """Who may change views and ``_security`` itself, besides the server's admins."""
    members: Circle
    """Who may read and write; where nobody is listed, everybody whom the server lets in."""


@dataclass
class Exposure:
    """One database of the target, as others see it."""

    name: str
    """With the target's prefix."""
    readable: bool
    """By an anonymous client."""
    writable: bool
    """By an anonymous client, as far as the database's own validation functions let it."""
    rules: Rules | None
    """None where the server does not tell."""
    samples: list[str] = field(default_factory=list)
    """In staging and production: documents that have IDs of sample data."""


@dataclass
class SecurityResult:
    """What was found."""

    plain_http: list[str]
    """URLs of other machines to which everything travels unencrypted."""
    unverified: bool
    """Whether the server's certificate is not looked at, so that it may be anybody."""
    anonymous: str | None
    """The user that the server takes a client without credentials for; None for nobody in particular."""
    admin_party: bool
    """Whether a client without credentials is a server admin."""
    names_databases: bool
    """Whether it is told which databases there are."""
    databases: list[Exposure] = field(default_factory=list)
    """Those of the target that are there."""

    @property
    def problems(self) -> list[str]:
        """What is open, each with what to do; empty where nothing is."""
        return [*self._of_the_server(), *(problem for each in self.databases for problem in _of_database(each))]

    @property
    def exit_code(self) -> ExitCode:
        """Whether a person has to do something."""
        return ExitCode.ATTENTION if self.problems else ExitCode.OK

    def _of_the_server(self) -> Iterator[str]:
        for url in self.plain_http:
            yield (
                f"{url} is another machine, and all that goes there can be read and changed on the way, "
                "the password, too; use https"
            )
        if self.unverified:
            yield "the server's certificate is not verified, so it may be anybody; name the authority with ca_file"
        if self.admin_party:
            yield (
                "everybody who reaches the server is its admin; set an admin's password "
                "(CouchDB: [admins] in local.ini; embedded server: serve --admin NAME)"
            )
        elif self.anonymous is not None:
            yield (
                f"who comes without credentials is taken for user {self.anonymous}; something between here and the "
                "server adds credentials of its own: have it stop that, or see who can reach it"
            )
        if self.names_databases:
            yield (
                "an anonymous client is told which databases there are; set admin_only_all_dbs = true "
                "in the section [chttpd] of the server's configuration"
            )


def _of_database(found: Exposure) -> Iterator[str]:
    may = " and ".join(word for word, can in (("read", found.readable), ("write", found.writable)) if can)
    if may:
        yield (
            f"an anonymous client can {may} {found.name}; set members in its _security (PUT /{found.name}/_security "
            f"with {_CLOSE}), and require_valid_user = true in the section [chttpd]"
        )
    elif found.rules is not None and not found.rules.members:
        yield (
            f"every user of the server can read and write {found.name}, as nobody is listed in its _security; "
            f"PUT /{found.name}/_security with {_CLOSE}"
        )
    if found.samples:
        first = ", ".join(found.samples[:3]) + (" …" if len(found.samples) > 3 else "")  # noqa: PLR2004 - a few
        yield (
            f"{found.name} holds {len(found.samples)} documents of sample data ({first}), whose passwords everybody "
            "knows; delete them"
        )


def check_security(server: Server, target: Target) -> SecurityResult:
    """Find out what a target's databases show to whom; writes nothing.

    Args:
        server: the target's server, with whatever credentials there are.
        target: the target.

    Raises:
        UnreachableError: nothing answers.
        CredentialsError: the server does not accept the password.
    """
    # With our client's certificate, where there is one: who has none does not get as far as this.
    stranger = Server(replace(server.address, user=None, password=None), server.patience)
    name, admin = _taken_for(stranger)
    result = SecurityResult(
        [url for url in target.address.urls if url.startswith("http:") and not is_this_machine(url)],
        server.address.tls.insecure,
        name,
        admin,
        stranger.names_databases(),
    )
    samples = sample_ids(target.model) if target.environment.protected else {}
    for each in target.model.databases:
        database = server.database(target.database(each))
        if database.exists():
            seen = stranger.database(database.name)
            found = Exposure(database.name, seen.may_read(), seen.may_write(), _rules(database))
            found.samples = _there(database, samples.get(each, []))
            result.databases.append(found)
    return result


def _taken_for(stranger: Server) -> tuple[str | None, bool]:
    try:
        return stranger.user()
    except TooLargeError:
        # That says nothing of who it is.
        raise
    except (CredentialsError, ProtocolError):
        # Not let in at all, or sent to a page to log in.
        return None, False


def _rules(database: Database) -> Rules | None:
    try:
        security = database.security()
    except (NotFoundError, CredentialsError):
        return None
    return Rules(_circle(security.get("admins")), _circle(security.get("members")))


def _circle(listed: Any) -> Circle:
    found = listed if isinstance(listed, dict) else {}
    names, roles = (found.get(member) for member in ("names", "roles"))
    return Circle(*(tuple(map(str, each)) if isinstance(each, list) else () for each in (names, roles)))


def _there(database: Database, ids: list[str]) -> list[str]:
    if not ids:
        return []
    rows = database.all_docs(ids)
    return sorted(
        str(row["id"]) for row in rows if "error" not in row and not (row.get("value") or {}).get("deleted", False)
    )
