"""Check how a target is protected: what an anonymous client can do, and the permissions of the databases.

The former is tried in a separate session without a user, which writes nothing. The latter is read from each database's
``_security``: https://docs.couchdb.org/en/3.5.0/api/database/security.html.
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
    """Names and roles, from one half of ``_security``."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.names or self.roles)


@dataclass(frozen=True, slots=True)
class Permissions:
    """The ``_security`` of a database."""

    admins: Circle
    """Who may change views and ``_security`` itself, besides server admins."""
    members: Circle
    """Who may read and write; if empty, everyone whom the server accepts."""


@dataclass
class Exposure:
    """The security of one database."""

    name: str
    """The full name."""
    readable: bool
    """By an anonymous client."""
    writable: bool
    """By an anonymous client, if the database's own validation functions allow it."""
    rules: Permissions | None
    """None if the server does not say."""
    samples: list[str] = field(default_factory=list)
    """In staging and production: documents with IDs of sample data."""


@dataclass
class SecurityResult:
    """The result of a security check."""

    plain_http: list[str]
    """URLs of other machines without encryption."""
    unverified: bool
    """Whether the server's certificate is not verified."""
    anonymous: str | None
    """The user that an anonymous client is logged in as; None for none."""
    admin_party: bool
    """Whether an anonymous client is a server admin."""
    names_databases: bool
    """Whether an anonymous client may list the databases."""
    databases: list[Exposure] = field(default_factory=list)
    """The existing databases of the target."""

    @property
    def problems(self) -> list[str]:
        """What is open, each with what to do; empty if nothing is."""
        return [*self._of_the_server(), *(problem for each in self.databases for problem in _of_database(each))]

    @property
    def exit_code(self) -> ExitCode:
        """Whether anything needs to be done."""
        return ExitCode.ATTENTION if self.problems else ExitCode.OK

    def _of_the_server(self) -> Iterator[str]:
        for url in self.plain_http:
            yield (
                f"{url} is another machine, and the connection is not encrypted: anyone on the network path can read "
                "and change everything, including the password; use https"
            )
        if self.unverified:
            yield "the server's certificate is not verified, so it may be an impostor; name its CA with ca_file"
        if self.admin_party:
            yield (
                "everyone who can reach the server is an admin; set an admin's password "
                "(CouchDB: [admins] in local.ini; embedded server: serve --admin NAME)"
            )
        elif self.anonymous is not None:
            yield (
                f"an anonymous client is logged in as user {self.anonymous}; a proxy in front of the server adds "
                "credentials: stop that, or check who can reach it"
            )
        if self.names_databases:
            yield (
                "an anonymous client can list the databases; set admin_only_all_dbs = true "
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
            f"every user of the server can read and write {found.name}, because its _security lists no members; "
            f"PUT /{found.name}/_security with {_CLOSE}"
        )
    if found.samples:
        first = ", ".join(found.samples[:3]) + (" …" if len(found.samples) > 3 else "")  # noqa: PLR2004 - a few
        yield (
            f"{found.name} holds {len(found.samples)} documents of sample data ({first}), whose passwords are public; "
            "delete them"
        )


def check_security(server: Server, target: Target) -> SecurityResult:
    """Find out what others can do with a target's databases; writes nothing.

    Args:
        server: the target's server, with whatever credentials there are.
        target: the target.

    Raises:
        UnreachableError: nothing answers.
        CredentialsError: the server rejects the password.
    """
    # With our client certificate, if any: nobody gets this far without one.
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
        # Not a question of identity.
        raise
    except (CredentialsError, ProtocolError):
        # Refused, or redirected to a log-in page.
        return None, False


def _rules(database: Database) -> Permissions | None:
    try:
        security = database.security()
    except (NotFoundError, CredentialsError):
        return None
    return Permissions(_circle(security.get("admins")), _circle(security.get("members")))


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
