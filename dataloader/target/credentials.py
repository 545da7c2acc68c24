"""Credentials: find the user and password, without revealing them to others."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataloader.common import (
    ENV_NETRC,
    ENV_PASSWORD,
    ENV_PASSWORD_FILE,
    ENV_USER,
    FileError,
    InputError,
    Problem,
    UsageError,
    bare_password,
    read_file,
    read_password_file,
)

MAX_NETRC = 1_000_000
"""The largest ``.netrc`` file, in bytes."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password; None for a server that requires none.

    Raises:
        UsageError: the user's name contains a colon, and so probably the password, which an error may not show.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # https://www.rfc-editor.org/rfc/rfc7617#section-2
        if self.user is not None and ":" in self.user:
            todo = f"set {ENV_USER} to the name only, and {ENV_PASSWORD} or {ENV_PASSWORD_FILE}"
            raise UsageError("the user name", rule="contains a colon", todo=todo)


def from_environment(environ: Mapping[str, str], hosts: Sequence[str], user: str | None = None) -> Credentials:
    """Return the default credentials: those from environment variables, otherwise those in ``.netrc``.

    Args:
        environ: the environment variables.
        hosts: the host names that they are for.
        user: the user, if already known; then only the password is looked up.

    Raises:
        UsageError: a password without a user, or different entries for the hosts.
        FileError: a named file can't be read.
        InputError: the ``.netrc`` file is invalid.
    """
    found = from_variables({**environ, **({} if user is None else {ENV_USER: user})}, ENV_USER, ENV_PASSWORD)
    if found.password is not None:
        return found
    path = netrc_path(environ)
    if path == Path(os.devnull):
        # An empty NETRC turns it off.
        return found
    # Only a file that is named explicitly has to exist.
    entry = from_netrc(path, hosts, found.user) if path and (environ.get(ENV_NETRC) or path.is_file()) else None
    return entry or found


def referred_to(
    source: Mapping[str, Any], folder: Path, where: str, hosts: Sequence[str], environ: Mapping[str, str]
) -> Credentials:
    """Return the credentials that a target in the target file refers to.

    Args:
        source: its ``credentials`` table, already checked by its schema; empty if there is none.
        folder: the folder of the target file.
        where: the target's name, for errors.
        hosts: the target's host names.
        environ: the environment variables.

    Raises:
        UsageError: they are missing.
        FileError: a named file can't be read.
        InputError: the ``.netrc`` file is invalid.
    """
    if "password_file" in source:
        return from_password_file(source["user"], folder / source["password_file"])
    if "netrc" in source:
        path = netrc_path(environ) if source["netrc"] is True else folder / source["netrc"]
        entry = None if path is None else from_netrc(path, hosts)
        if entry is None:
            rule = f"{path or '.netrc'} has no login and password for {' or '.join(hosts)}"
            raise UsageError(where, rule=rule, todo="add to it: machine HOST login USER password PASSWORD")
        return entry
    if "user_env" in source:
        found = from_variables(environ, source["user_env"], source["password_env"])
        if found.user is None or found.password is None:
            rule = f"{source['user_env']} and {source['password_env']} are not set"
            raise UsageError(where, rule=rule, todo="set both in the environment")
        return found
    return from_environment(environ, hosts)


def from_variables(environ: Mapping[str, str], user: str, password: str) -> Credentials:
    """Return the credentials in two variables; with our own, ``COUCHDB_PASSWORD_FILE`` may replace the password.

    Raises:
        UsageError: our own variables have a password but no user.
        FileError: the password file can't be read.
    """
    name = environ.get(user) or None
    found = Credentials(name, bare_password(environ.get(password, "")) or None)
    if found.password is None and password == ENV_PASSWORD and environ.get(ENV_PASSWORD_FILE):
        found = from_password_file(name, Path(environ[ENV_PASSWORD_FILE]))
    if found.password is not None and name is None and user == ENV_USER:
        raise UsageError(ENV_PASSWORD, rule="is set without a user", todo=f"set {ENV_USER} too")
    return found


def from_password_file(user: str | None, path: Path) -> Credentials:
    """Return a user with the password in a file; the file may contain nothing else but a line end.

    Raises:
        FileError: the file can't be read, or is empty.
    """
    password = read_password_file(path)
    if not password:
        raise FileError(str(path), rule="is empty", todo="name the file that holds the password")
    return Credentials(user, password, readable_by_others(path))


def netrc_path(environ: Mapping[str, str]) -> Path | None:
    """Return the path of the user's ``.netrc``, whether or not it exists: ``NETRC``, or in the home folder."""
    if environ.get(ENV_NETRC):
        return Path(environ[ENV_NETRC])
    return Path(environ["HOME"]) / ".netrc" if environ.get("HOME") else None


def from_netrc(path: Path, hosts: Sequence[str], user: str | None = None) -> Credentials | None:
    """Return the ``.netrc`` entry for some hosts; None if there is none with a login and a password.

    The ``default`` entry is ignored: its password should not be sent to every server.

    Args:
        path: the file.
        hosts: the host names.
        user: the login to look for; None for any.

    Raises:
        FileError: the file can't be read.
        InputError: the file is invalid.
        UsageError: the hosts have different entries.
    """
    from netrc import NetrcParseError, netrc  # noqa: PLC0415 - rarely needed

    # The parser opens the file by name; this checks that it can be read and is not a pipe.
    read_file(path, MAX_NETRC, f"correct or unset {ENV_NETRC}")
    try:
        entries = netrc(path).hosts
    except OSError as error:
        raise FileError.of(error, path, f"correct or unset {ENV_NETRC}") from error
    except NetrcParseError as error:
        # The parser's message may contain a password.
        raise InputError(
            Problem(f"{path}, line {error.lineno}", "is not valid in a .netrc file", "quote values that contain spaces")
        ) from None
    except ValueError:
        raise InputError(Problem(str(path), "is not text", f"correct it or set {ENV_NETRC} to another")) from None
    found = {
        (login, password)
        for host in hosts
        for login, _, password in [entries.get(host, ("", "", ""))]
        if login and password and user in {None, login}
    }
    if len(found) > 1:
        rule = "has different users or passwords for its nodes"
        raise UsageError(str(path), rule=rule, todo="use the same for all nodes of a cluster")
    for login, password in found:
        return Credentials(login, password, readable_by_others(path))
    return None


def readable_by_others(path: Path) -> tuple[str, ...]:
    """Return a warning if a file with a secret can be read by other users.

    A file of another user is meant to be read by its group: so containers get their secrets
    (https://kubernetes.io/docs/tasks/configure-pod-container/security-context/, ``fsGroup``).
    """
    status = path.stat()
    others = stat.S_IROTH | (stat.S_IRGRP if status.st_uid == os.geteuid() else 0)
    if stat.S_ISREG(status.st_mode) and status.st_mode & others:
        return (f"{path} holds a secret, and others on this machine can read it; chmod 600 it",)
    return ()
