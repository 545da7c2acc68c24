"""A server's URLs, TLS settings and credentials."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dataloader.common import Secrets


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings; certificates are verified unless that is switched off."""

    ca_file: Path | None = None
    """CA certificates to trust instead of the system's."""
    client_cert: Path | None = None
    """The client certificate, with its chain."""
    client_key: Path | None = None
    """Its key, if it is not in the same file."""
    insecure: bool = False
    """Whether to skip verification of the server's certificate."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URLs and credentials; printed without the credentials."""

    url: str
    """The server's URL without credentials and without a trailing slash."""
    user: str | None = None
    password: str | None = None
    tls: Tls = Tls()
    others: tuple[str, ...] = ()
    """The URLs of the cluster's other nodes, in the same form; used when the first is down."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of all known nodes, the preferred one first."""
        return self.url, *self.others

    @property
    def secrets(self) -> Secrets:
        """The secrets to mask."""
        return _secrets(self.user, self.password)

    def __repr__(self) -> str:
        """Return the address without credentials."""
        others = f", others={self.others!r}" if self.others else ""
        return f"Address({self.url!r}, user={self.user!r}{others})"


@lru_cache(16)
def _secrets(user: str | None, password: str | None) -> Secrets:
    # Each reply that may repeat a password is searched for it; making the patterns takes longer than most requests.
    return Secrets(user, password)
