"""Targets: the CouchDB to load, and what may be done to it.

A target comes from ``dataloader.toml`` by its name, or from a URL with the rest said beside it. The
credentials never stand in the file; it says where they come from.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from dataloader.couch import Address
from dataloader.errors import FileError, InputError, Problem, ProtectedError, UsageError
from dataloader.files import read_password_file
from dataloader.models import DEFAULT_MODEL, Model, get_model, model_names
from dataloader.settings import (
    CONFIG_FILE,
    ENV_CONFIG,
    ENV_PASSWORD,
    ENV_PASSWORD_FILE,
    ENV_URL,
    ENV_USER,
)
from dataloader.validation import explain

SCHEMA = "files/target-file"

# https://docs.couchdb.org/en/3.5.0/api/database/common.html#put--db; a slash would need care in every path.
_PREFIX = re.compile(r"[a-z][a-z0-9_$()+-]*\Z")
# Without credentials; as the schema of the target file has it.
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/+-]*)?\Z")


class Environment(StrEnum):
    """What a target is for."""

    DEVELOPMENT = "development"
    CI = "ci"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def protected(self) -> bool:
        """Whether sample data, passwords and reproducible batches are refused."""
        return self in {Environment.STAGING, Environment.PRODUCTION}


@dataclass(frozen=True, slots=True)
class Target:
    """A CouchDB to load."""

    address: Address
    model: Model
    environment: Environment
    prefix: str = ""
    """Stands before the name of each database."""
    warnings: tuple[str, ...] = ()

    def database(self, name: str) -> str:
        """Return the name of one of the model's databases on this server."""
        return f"{self.prefix}{name}"

    def refuse(self, what: str, todo: str) -> None:
        """Refuse what a protected target never gets.

        Raises:
            ProtectedError: the target is a staging or production one.
        """
        if self.environment.protected:
            raise ProtectedError(f"{what} at {self.address.url}", rule=f"never in {self.environment}", todo=todo)


def read_targets(path: Path) -> dict[str, dict[str, Any]]:
    """Read and check a target file.

    Returns:
        The targets' tables by their names.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise FileError.of(error, path, "name the target file with --config, or give --url") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(path), f"is not TOML: {error}", "correct the syntax")) from error
    except RecursionError as error:
        raise InputError(Problem(str(path), "is nested too deeply", "correct the syntax")) from error
    problems = [Problem(str(path), rule, "see samples/dataloader.toml") for rule in explain(SCHEMA, data, secrets=True)]
    for name, table in data["target"].items() if not problems else ():
        where = f"{path}, target {name}"
        if table.get("model", DEFAULT_MODEL) not in model_names():
            problems.append(Problem(where, f"there is no model {table['model']!r}", f"choose of {_models()}"))
        try:
            _split_all(_listed(table["url"]))
        except UsageError as error:
            problems.append(Problem(where, f"its url {error.rule}", error.todo))
    if problems:
        raise InputError(problems)
    targets: dict[str, dict[str, Any]] = data["target"]
    return targets


def _models() -> str:
    return ", ".join(model_names())


def resolve(
    *,
    target: str | None = None,
    url: str | Sequence[str] | None = None,
    model: str | None = None,
    environment: str | None = None,
    prefix: str | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """Find out which CouchDB is meant.

    Args:
        target: a name in the target file.
        url: a URL, instead; or those of several nodes of one cluster.
        model: the document model, with a URL.
        environment: what the target is for, with a URL; must be said for another machine.
        prefix: what stands before database names, with a URL.
        config: the target file.
        environ: the environment's variables.

    Raises:
        UsageError: none is meant, or two.
        FileError: the target file, or one it names, can't be read.
        InputError: the target file is wrong.
        ProtectedError: a URL of another machine without an environment.
    """
    if target is not None:
        if url is not None or model is not None or environment is not None or prefix is not None:
            raise UsageError(
                f"--target {target}",
                rule="stands alone: its URL, model, environment and prefix are in the target file",
                todo="leave the others out, or use --url",
            )
        return _from_file(target, config or Path(environ.get(ENV_CONFIG) or CONFIG_FILE), environ)
    warnings: tuple[str, ...] = ()
    given = environ.get(ENV_URL, "").split() if url is None else _listed(url)
    if not given:
        raise UsageError(
            "no target", rule="a command needs to know its server", todo=f"give --target, --url or {ENV_URL}"
        )
    urls, user, password = _split_all(given)
    if url is not None and password:
        warnings = ("the password in --url can be seen by everybody on this machine; use COUCHDB_PASSWORD_FILE",)
    if user is None:
        user, password = _credentials(environ, ENV_USER, ENV_PASSWORD)
    elif password is None:
        _, password = _credentials({**environ, ENV_USER: user}, ENV_USER, ENV_PASSWORD)
    if environment is None:
        elsewhere = next((each for each in urls if not _is_this_machine(each)), None)
        if elsewhere is not None:
            raise ProtectedError(
                elsewhere,
                rule="is another machine, so what it is for must be said",
                todo=f"add --environment {'|'.join(Environment)}",
            )
        environment = Environment.DEVELOPMENT
    if prefix and not _PREFIX.match(prefix):
        raise UsageError(
            f"--prefix {prefix}",
            rule="database names begin with a lower-case letter and hold those, digits and _ $ ( ) + -",
            todo="choose another",
        )
    return Target(
        Address(urls[0], user, password, others=urls[1:]),
        get_model(model or DEFAULT_MODEL),
        Environment(environment),
        prefix or "",
        warnings,
    )


def _from_file(name: str, path: Path, environ: Mapping[str, str]) -> Target:
    targets = read_targets(path)
    if name not in targets:
        raise InputError(Problem(str(path), f"there is no target {name!r}", f"choose of {', '.join(sorted(targets))}"))
    table = targets[name]
    urls, _, _ = _split_all(_listed(table["url"]))
    source = table.get("credentials", {})
    if "password_file" in source:
        user: str | None = source["user"]
        password: str | None = read_password_file(path.parent / source["password_file"])
    elif source:
        user, password = _credentials(environ, source["user_env"], source["password_env"])
        if user is None or password is None:
            raise UsageError(
                f"{path}, target {name}",
                rule=f"{source['user_env']} and {source['password_env']} are not set",
                todo="set both in the environment",
            )
    else:
        user, password = _credentials(environ, ENV_USER, ENV_PASSWORD)
    ca_file = path.parent / table["ca_file"] if "ca_file" in table else None
    return Target(
        Address(urls[0], user, password, ca_file, urls[1:]),
        get_model(table.get("model", DEFAULT_MODEL)),
        Environment(table["environment"]),
        table.get("prefix", ""),
    )


def _listed(urls: str | Sequence[str]) -> list[str]:
    return [urls] if isinstance(urls, str) else [*urls]


def _split_all(urls: Sequence[str]) -> tuple[tuple[str, ...], str | None, str | None]:
    """Return the URLs of a cluster's nodes without their credentials, each once; and these, the same for all."""
    split = [_split(url) for url in urls]
    bare = tuple(dict.fromkeys(url for url, _, _ in split))
    if len({urlsplit(url).scheme for url in bare}) > 1:
        rule = "is http for one node and https for another"
        raise UsageError("the server's URL", rule=rule, todo="give all nodes of a cluster in the same way")
    users = dict.fromkeys((user, password) for _, user, password in split if user)
    if len(users) > 1:
        rule = "has one user or password for one node and another for another"
        raise UsageError("the server's URL", rule=rule, todo="say it once; it is the same for all nodes of a cluster")
    user, password = next(iter(users), (None, None))
    return bare, user, password


def _split(url: str) -> tuple[str, str | None, str | None]:
    """Return a URL without its credentials, and these."""
    todo = "write it as http://HOST:PORT or https://HOST"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise UsageError("the server's URL", rule="is not a URL", todo=todo) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        # It is not repeated, since it may hold a password.
        raise UsageError("the server's URL", rule="is not the http or https URL of a server", todo=todo)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", parts.path.rstrip("/"), "", ""))
    if not _URL.match(bare):
        # A slash in a password that is not percent-encoded puts the rest of it into the path.
        raise UsageError(
            "the server's URL", rule="is not the URL of a server", todo=f"{todo}; a / in a password is %2F"
        )
    if parts.password and not parts.username:
        raise UsageError("the server's URL", rule="has a password but no user", todo="put the user before the colon")
    user = unquote(parts.username) if parts.username else None
    return bare, user, unquote(parts.password) if parts.password else None


def _credentials(environ: Mapping[str, str], user: str, password: str) -> tuple[str | None, str | None]:
    name = environ.get(user) or None
    secret = environ.get(password) or None
    if secret is None and password == ENV_PASSWORD and environ.get(ENV_PASSWORD_FILE):
        secret = read_password_file(Path(environ[ENV_PASSWORD_FILE]))
    if secret is not None and name is None and user == ENV_USER:
        raise UsageError(ENV_PASSWORD, rule="is set without a user", todo=f"set {ENV_USER} too")
    return name, secret


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
