"""Where a server is, whom to trust, and how to get in."""

from dataclasses import dataclass
from pathlib import Path

from dataloader.common import Secrets


@dataclass(frozen=True, slots=True)
class Tls:
    """How a TLS connection is made; the other side is verified unless that is switched off."""

    ca_file: Path | None = None
    """The certificates of the authorities to trust, in place of the system's."""
    client_cert: Path | None = None
    """The certificate to show, with its chain."""
    client_key: Path | None = None
    """Its key, where that is not in the same file."""
    insecure: bool = False
    """Whether the server may be anybody."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to get in; never printed with its credentials."""

    url: str
    """The server's URL without credentials and without a slash at the end."""
    user: str | None = None
    password: str | None = None
    tls: Tls = Tls()
    others: tuple[str, ...] = ()
    """The URLs of the other nodes of the same cluster, written in the same way; asked when the first is down."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of all nodes that are known, the first first."""
        return self.url, *self.others

    @property
    def secrets(self) -> Secrets:
        """What must not get out of it."""
        return Secrets(self.user, self.password)

    def __repr__(self) -> str:
        """Show the address without the credentials."""
        others = f", others={self.others!r}" if self.others else ""
        return f"Address({self.url!r}, user={self.user!r}{others})"
