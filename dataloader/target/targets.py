"""Targets: the CouchDB to load, and what is allowed there.

A target is named in ``dataloader.toml``, or given as a URL with options. The file contains no credentials; it says
where they are.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dataloader.common import (
    ENV_URL,
    InputError,
    Problem,
    ProtectedError,
    UsageError,
    explain,
    listed,
    page,
    read_file,
    target_file,
    which_of,
)
from dataloader.couch import Address, Tls
from dataloader.records.models import DEFAULT_MODEL, Model, get_model, model_names
from dataloader.target.credentials import Credentials, from_environment, readable_by_others, referred_to
from dataloader.target.urls import hosts_of, is_this_machine, split_urls

TARGETS_SCHEMA = "files/target-file"
SEE = f"see {page('reference.md#targets')}"
"""What to do about a target file that is wrong in a way that says no more."""
MAX_FILE = 100_000
"""The largest target file, in bytes; some hundreds of targets."""
MAX_LINE = 10_000
"""The longest line of a target file, in characters: a key with thousands of dots would take the parser minutes."""

# https://docs.couchdb.org/en/3.5.0/api/database/common.html#put--db; a slash would need escaping in every path.
_PREFIX = re.compile(r"[a-z][a-z0-9_$()+-]*\Z")
PREFIX_RULE = "database names begin with a lower-case letter and contain only those, digits and _ $ ( ) + -"
_OPTIONS = (
    *("url", "model", "environment", "prefix", "ca_file", "client_cert", "client_key", "insecure", "credentials"),
    "snapsets",
)
"""The options of a target in the target file."""
_CREDENTIALS = ({"user", "password_file"}, {"user_env", "password_env"}, {"netrc"})
"""The ways to say where credentials are."""
_TLS_FILES = ("ca_file", "client_cert", "client_key")


class Environment(StrEnum):
    """The environment that a target belongs to."""

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
    """A prefix for the name of each database."""
    warnings: tuple[str, ...] = ()
    snapsets: Path | None = None
    """The folder of snapsets, if the target file names one."""

    def database(self, name: str) -> str:
        """Return the full name of one of the model's databases."""
        return f"{self.prefix}{name}"

    @property
    def where(self) -> str:
        """The target in words, for a question about it: ``http://couchdb:5984 (production, gpii-token, prefix a-)``."""
        prefix = f", prefix {self.prefix}" if self.prefix else ""
        return f"{self.address.url} ({self.environment}, {self.model.name}{prefix})"

    def refuse(self, what: str, todo: str) -> None:
        """Refuse an operation that is not allowed on protected targets.

        Raises:
            ProtectedError: the target is staging or production.
        """
        if self.environment.protected:
            raise ProtectedError(f"{what} at {self.address.url}", rule=f"never in {self.environment}", todo=todo)


def read_targets(path: Path) -> dict[str, dict[str, Any]]:
    """Read and check a target file.

    Returns:
        The tables of the targets, by name.

    Raises:
        FileError: the file can't be read.
        InputError: the file is invalid; lists every problem.
    """
    try:
        todo = "write one with `dataloader init`, name it with --config, or give --url"
        text = read_file(path, MAX_FILE, todo).decode("utf-8-sig")
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > MAX_LINE:
                rule = f"is longer than {MAX_LINE:,} characters"
                raise InputError(Problem(f"{path}, line {number}", rule, "correct the syntax"))
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "is not UTF-8 text", "save it as UTF-8")) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(str(path), f"is not TOML: {error}", "correct the syntax")) from error
    except (ValueError, RecursionError) as error:
        rule = "is nested too deeply" if isinstance(error, RecursionError) else "has a number with too many digits"
        raise InputError(Problem(str(path), rule, "correct the syntax")) from error
    problems = [*_slips(path, data)] or [
        Problem(str(path), rule, SEE) for rule in explain(TARGETS_SCHEMA, data, secrets=True)
    ]
    if not problems:
        problems = [each for name, table in data["target"].items() for each in _wrong(f"{path}, target {name}", table)]
    if problems:
        raise InputError(problems)
    targets: dict[str, dict[str, Any]] = data["target"]
    return targets


def _slips(path: Path, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the likely mistakes in a target file, each with a hint that the schema can't give."""
    for name in data:
        if name != "target":
            yield Problem(str(path), f'unknown table "{name}"', "write each target as [target.NAME]")
    targets = data.get("target")
    for name, table in targets.items() if isinstance(targets, dict) else ():
        where = f"{path}, target {name}"
        if name in _OPTIONS and not isinstance(table, dict):
            yield Problem(str(path), f'option "{name}" belongs to no target', "write each target as [target.NAME]")
        for option in table if isinstance(table, dict) else ():
            if option not in _OPTIONS:
                yield Problem(where, f'unknown option "{option}"', _meant(option))
        if isinstance(table, dict):
            yield from _slips_in_values(where, table)


def _slips_in_values(where: str, table: Mapping[str, Any]) -> Iterator[Problem]:
    urls, prefix, credentials = table.get("url"), table.get("prefix"), table.get("credentials")
    given = [each for each in (urls if isinstance(urls, list) else [urls]) if isinstance(each, str)]
    if any("@" in url for url in given):
        yield Problem(where, "its url contains a user or password", "remove them, and use `credentials`")
    elif given:
        try:
            split_urls(given)
        except UsageError as error:
            yield Problem(where, f"its url {error.rule}", error.todo)
    if isinstance(prefix, str) and not _PREFIX.match(prefix):
        yield Problem(where, f"its prefix is not allowed: {PREFIX_RULE}", "choose another")
    if isinstance(credentials, dict) and "password" in credentials:
        todo = "use password_file, the path of a file with the password, or password_env"
        yield Problem(where, "its credentials contain a password", todo)
    elif isinstance(credentials, dict) and {*credentials} not in _CREDENTIALS:
        ways = "user and password_file, user_env and password_env, or netrc"
        yield Problem(where, f"its credentials must be {ways}", "give one of these")


def _meant(option: str) -> str:
    if option in {"user", "username", "password"}:
        return f"use `credentials`; {SEE}"
    return which_of(option, _OPTIONS)


def _wrong(where: str, table: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a target that matches the schema."""
    model = table.get("model", DEFAULT_MODEL)
    if model not in model_names():
        yield Problem(where, f'no model "{model}"', which_of(model, model_names()))
    urls, _, _ = split_urls(_listed(table["url"]))
    for option in (*_TLS_FILES, "insecure"):
        if table.get(option) and not urls[0].startswith("https:"):
            yield Problem(where, f"its {option} only applies to https", "write the url with https://")


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
    """Find the target to use.

    Args:
        target: a name in the target file.
        url: a URL instead of a name; or the URLs of several nodes of one cluster.
        model: the document model, with a URL.
        environment: the environment, with a URL; required for remote servers.
        prefix: the prefix of database names, with a URL.
        tls: TLS settings, with a URL.
        config: the target file.
        environ: the environment variables.

    Raises:
        UsageError: no target is given, or two.
        FileError: the target file, or a file that it names, can't be read.
        InputError: the target file or a ``.netrc`` file is invalid.
        ProtectedError: a remote URL without an environment, or a protected target without TLS verification.
    """
    if target is not None:
        options = {"--url": url, "--model": model, "--environment": environment, "--prefix": prefix, "TLS options": tls}
        if given := [name for name, value in options.items() if value is not None]:
            them = "them" if len(given) > 1 or tls is not None else "it"
            raise UsageError(
                f"--target {target}",
                rule=f"cannot be combined with {listed(given)}",
                todo=f"leave {them} out, since the target file sets {them}; or give --url instead of --target",
            )
        return _from_file(target, target_file(config, environ), environ)
    nodes = environ.get(ENV_URL, "").split() if url is None else _listed(url)
    if not nodes:
        raise UsageError("no target", rule="a command needs to know its server", todo=_how_to_name(config, environ))
    urls, user, password = split_urls(nodes)
    if prefix and not _PREFIX.match(prefix):
        raise UsageError(
            f"--prefix {prefix}",
            rule=PREFIX_RULE,
            todo="choose another",
        )
    how = tls or Tls()
    _check_tls(how, urls)
    found = _credentials(urls, Credentials(user, password), environ, in_option=url is not None)
    resolved = Target(
        Address(urls[0], found.user, found.password, how, urls[1:]),
        get_model(model or DEFAULT_MODEL),
        _environment(urls, environment),
        prefix or "",
        found.warnings,
    )
    return _warned(resolved, "--insecure")


def _credentials(
    urls: Sequence[str], given: Credentials, environ: Mapping[str, str], *, in_option: bool
) -> Credentials:
    """Return the credentials from a URL, otherwise those from the environment."""
    if given.password is None:
        return from_environment(environ, hosts_of(urls), given.user)
    if not in_option:
        return given
    warning = "the password in --url is visible to everyone on this machine; use COUCHDB_PASSWORD_FILE"
    return replace(given, warnings=(warning,))


def _environment(urls: Sequence[str], environment: str | None) -> Environment:
    """Return the environment of a URL; only a server on this machine has a default.

    Raises:
        ProtectedError: it is on another machine, and no environment is given.
    """
    if environment is not None:
        return Environment(environment)
    elsewhere = next((each for each in urls if not is_this_machine(each)), None)
    if elsewhere is not None:
        raise ProtectedError(
            elsewhere,
            rule="remote server, so say what it is for",
            todo=f"add --environment {'|'.join(Environment)}",
        )
    return Environment.DEVELOPMENT


def _how_to_name(config: Path | None, environ: Mapping[str, str]) -> str:
    path = target_file(config, environ)
    how = f"give --target, --url or {ENV_URL}"
    return f"{how}; targets in {path}: {', '.join(read_targets(path))}" if path.is_file() else how


def _from_file(name: str, path: Path, environ: Mapping[str, str]) -> Target:
    targets = read_targets(path)
    if name not in targets:
        raise InputError(Problem(str(path), f'no target "{name}"', which_of(name, sorted(targets))))
    table = targets[name]
    where = f"{path}, target {name}"
    urls, _, _ = split_urls(_listed(table["url"]))
    found = referred_to(table.get("credentials", {}), path.parent, where, hosts_of(urls), environ)
    files = {option: path.parent / table[option] for option in _TLS_FILES if option in table}
    target = Target(
        Address(urls[0], found.user, found.password, Tls(**files, insecure=table.get("insecure", False)), urls[1:]),
        get_model(table.get("model", DEFAULT_MODEL)),
        Environment(table["environment"]),
        table.get("prefix", ""),
        found.warnings,
        path.parent / table["snapsets"] if "snapsets" in table else None,
    )
    return _warned(target, f"{where}: insecure")


def _warned(target: Target, said: str) -> Target:
    """Return a target with its TLS warnings.

    Args:
        target: the target.
        said: the option that turned verification off, if any.

    Raises:
        ProtectedError: verification is off for a protected target.
    """
    tls = target.address.tls
    warnings = target.warnings
    key = tls.client_key or tls.client_cert
    if key is not None and key.is_file():
        warnings += readable_by_others(key)
    if tls.insecure:
        todo = "give the server's CA certificate with --ca-file, or ca_file in the target file"
        target.refuse(said, todo)
        danger = "anyone on the network path can read and change everything, including the password"
        warnings += (f"{said}: the server's identity is not verified, so {danger}",)
    return replace(target, warnings=warnings)


def _check_tls(tls: Tls, urls: Sequence[str]) -> None:
    for option, value in asdict(tls).items():
        name = f"--{option.replace('_', '-')}"
        if value and not urls[0].startswith("https:"):
            raise UsageError(name, rule="only applies to https", todo="write the URL with https://")
        if value and option == "client_key" and tls.client_cert is None:
            raise UsageError(name, rule="needs its certificate", todo="add --client-cert")


def _listed(urls: str | Sequence[str]) -> list[str]:
    return [urls] if isinstance(urls, str) else [*urls]
