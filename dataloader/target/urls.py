"""Parse the URLs of servers, and explain invalid ones without repeating a password."""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit, urlunsplit

from dataloader.common import UsageError

# Without credentials; the same as in the schema of the target file.
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/+-]*)?\Z")
_MUST_BE_ENCODED = re.compile(r"[#?/\[\]\s]")
_FORM = "write it as http://HOST:PORT or https://HOST"
_HOST_AND_PORT = re.compile(r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+):[0-9]{2,5}")
"""Looks like a server and not like a password."""


def split_urls(urls: Sequence[str]) -> tuple[tuple[str, ...], str | None, str | None]:
    """Return the URLs of a cluster's nodes without credentials, each once, and the user and password they share.

    Raises:
        UsageError: one is not a server's URL, or they differ in scheme, user or password.
    """
    split = [_split(url) for url in urls]
    bare = tuple(dict.fromkeys(url for url, _, _ in split))
    if len({urlsplit(url).scheme for url in bare}) > 1:
        rule = "is http for one node and https for another"
        raise UsageError("the server's URL", rule=rule, todo="use the same scheme for all nodes of a cluster")
    users = dict.fromkeys((user, password) for _, user, password in split if user)
    if len(users) > 1:
        rule = "has different users or passwords for its nodes"
        raise UsageError("the server's URL", rule=rule, todo="give it once; all nodes of a cluster share it")
    user, password = next(iter(users), (None, None))
    return bare, user, password


def _split(url: str) -> tuple[str, str | None, str | None]:
    """Split a URL into the URL without credentials, the user and the password."""
    # No error repeats the URL, since it may contain a password.
    userinfo, at, _ = url.strip().partition("://")[2].rpartition("@")
    if at and _MUST_BE_ENCODED.search(userinfo):
        raise UsageError(
            "the server's URL",
            rule="has a user or password with a character that has to be percent-encoded",
            todo="write # as %23, / as %2F, ? as %3F, [ as %5B, ] as %5D; or set COUCHDB_USER and COUCHDB_PASSWORD",
        )
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise UsageError("the server's URL", rule="is not a URL", todo=_FORM) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        bare = url.strip()
        todo = f"did you mean http://{bare} or https://{bare}?" if _HOST_AND_PORT.fullmatch(bare) else _FORM
        raise UsageError("the server's URL", rule="is not the http or https URL of a server", todo=todo)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", parts.path.rstrip("/"), "", ""))
    if not _URL.match(bare):
        raise UsageError("the server's URL", rule="is not the URL of a server", todo=_FORM)
    if parts.password and not parts.username:
        raise UsageError("the server's URL", rule="has a password but no user", todo="put the user before the colon")
    user = unquote(parts.username) if parts.username else None
    return bare, user, unquote(parts.password) if parts.password else None


def hosts_of(urls: Sequence[str]) -> list[str]:
    """Return the host names, each once."""
    return list(dict.fromkeys(urlsplit(url).hostname or "" for url in urls))


def is_this_machine(url: str) -> bool:
    """Return whether a URL points to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
