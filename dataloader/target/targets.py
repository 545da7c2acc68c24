"""Targets: the CouchDB to load, and what may be done to it.

A target comes from ``dataloader.toml`` by its name, or from a URL with the rest said beside it. The
credentials never stand in the file; it says where they come from.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from dataloader.common import (
    CONFIG_FILE,
    ENV_CONFIG,
    ENV_URL,
    InputError,
    Problem,
    ProtectedError,
    UsageError,
    explain,
    read_file,
)
from dataloader.couch import Address, Tls
from dataloader.records.models import DEFAULT_MODEL, Model, get_model, model_names
from dataloader.target.credentials import Credentials, from_environment, readable_by_others, referred_to

TARGETS_SCHEMA = "files/target-file"
MAX_FILE = 1_000_000
"""Bytes of a target file."""

# https://docs.couchdb.org/en/3.5.0/api/database/common.html#put--db; a slash would need care in every path.
_PREFIX = re.compile(r"[a-z][a-z0-9_$()+-]*\Z")
# Without credentials; as the schema of the target file has it.
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/+-]*)?\Z")
_TLS_FILES = ("ca_file", "client_cert", "client_key")


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
        text = read_file(path, MAX_FILE, "name the target file with --config, or give --url").decode("utf-8-sig")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(path), f"is not TOML: {error}", "correct the syntax")) from error
    except RecursionError as error:
        raise InputError(Problem(str(path), "is nested too deeply", "correct the syntax")) from error
    problems = [
        Problem(str(path), rule, "see samples/dataloader.toml") for rule in explain(TARGETS_SCHEMA, data, secrets=True)
    ]
    for name, table in data["target"].items() if not problems else ():
        where = f"{path}, target {name}"
        if table.get("model", DEFAULT_MODEL) not in model_names():
            problems.append(Problem(where, f"there is no model {table['model']!r}", f"choose of {_models()}"))
        try:
            urls, _, _ = _split_all(_listed(table["url"]))
        except UsageError as error:
            problems.append(Problem(where, f"its url {error.rule}", error.todo))
            continue
        problems += [
            Problem(where, f"its {option} is for a server with https", "write the url with https://")
            for option in (*_TLS_FILES, "insecure")
            if table.get(option) and not urls[0].startswith("https:")
        ]
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
    tls: Tls | None = None,
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
        tls: whom to trust and what to show, with a URL.
        config: the target file.
        environ: the environment's variables.

    Raises:
        UsageError: none is meant, or two.
        FileError: the target file, or one it names, can't be read.
        InputError: the target file is wrong, or a ``.netrc`` file.
        ProtectedError: a URL of another machine without an environment, or a protected one that is not verified.
    """
    if target is not None:
        if any(each is not None for each in (url, model, environment, prefix, tls)):
            raise UsageError(
                f"--target {target}",
                rule="stands alone: its URL, model, environment, prefix and TLS are in the target file",
                todo="leave the others out, or use --url",
            )
        return _from_file(target, config or Path(environ.get(ENV_CONFIG) or CONFIG_FILE), environ)
    given = environ.get(ENV_URL, "").split() if url is None else _listed(url)
    if not given:
        raise UsageError(
            "no target", rule="a command needs to know its server", todo=f"give --target, --url or {ENV_URL}"
        )
    urls, user, password = _split_all(given)
    found = Credentials(user, password)
    if password is None:
        found = from_environment(environ, _hosts(urls), user)
    elif url is not None:
        warning = "the password in --url can be seen by everybody on this machine; use COUCHDB_PASSWORD_FILE"
        found = replace(found, warnings=(warning,))
    if environment is None:
        elsewhere = next((each for each in urls if not is_this_machine(each)), None)
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
    how = tls or Tls()
    _check_tls(how, urls)
    resolved = Target(
        Address(urls[0], found.user, found.password, how, urls[1:]),
        get_model(model or DEFAULT_MODEL),
        Environment(environment),
        prefix or "",
        found.warnings,
    )
    return _warned(resolved, "--insecure")


def _from_file(name: str, path: Path, environ: Mapping[str, str]) -> Target:
    targets = read_targets(path)
    if name not in targets:
        raise InputError(Problem(str(path), f"there is no target {name!r}", f"choose of {', '.join(sorted(targets))}"))
    table = targets[name]
    where = f"{path}, target {name}"
    urls, _, _ = _split_all(_listed(table["url"]))
    found = referred_to(table.get("credentials", {}), path.parent, where, _hosts(urls), environ)
    files = {option: path.parent / table[option] for option in _TLS_FILES if option in table}
    target = Target(
        Address(urls[0], found.user, found.password, Tls(**files, insecure=table.get("insecure", False)), urls[1:]),
        get_model(table.get("model", DEFAULT_MODEL)),
        Environment(table["environment"]),
        table.get("prefix", ""),
        found.warnings,
    )
    return _warned(target, f"{where}: insecure")


def _warned(target: Target, said: str) -> Target:
    """Return a target with the warnings that its TLS gives reason for.

    Args:
        target: the target.
        said: where it was said that the server is not to be verified, if it was.

    Raises:
        ProtectedError: that, of a protected target.
    """
    tls = target.address.tls
    warnings = target.warnings
    key = tls.client_key or tls.client_cert
    if key is not None and key.is_file():
        warnings += readable_by_others(key)
    if tls.insecure:
        todo = "name the certificate of the server's authority with --ca-file, or ca_file in the target file"
        target.refuse(said, todo)
        danger = "whoever is on the way to it can read and change everything, the password too"
        warnings += (f"{said}: nobody verifies who the server is, so {danger}",)
    return replace(target, warnings=warnings)


def _check_tls(tls: Tls, urls: Sequence[str]) -> None:
    for option, value in asdict(tls).items():
        name = f"--{option.replace('_', '-')}"
        if value and not urls[0].startswith("https:"):
            raise UsageError(name, rule="is for a server with https", todo="write the URL with https://")
        if value and option == "client_key" and tls.client_cert is None:
            raise UsageError(name, rule="stands without its certificate", todo="give --client-cert, too")


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


def _hosts(urls: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(urlsplit(url).hostname or "" for url in urls))


def is_this_machine(url: str) -> bool:
    """Tell whether a URL leads back to the machine that it is used on."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
