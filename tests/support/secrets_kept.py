"""Looking for secrets in everything that a command printed and wrote, in every form that they take on their way."""

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote
from zipfile import BadZipFile, ZipFile


def secret(core: str) -> str:
    """Make a password from letters and digits that stand nowhere else, with what is awkward on both sides of them."""
    return f"ä:/{core}%@ü"


def forms(core: str) -> Iterator[bytes]:
    """Yield what the middle of a secret looks like: as it is, also percent-encoded or escaped, and in base64."""
    yield core.encode()
    # It may begin at any place of the three bytes that become four characters; what its neighbours are part of, goes.
    for lead in range(3):
        encoded = b64encode(b"\0" * lead + core.encode())
        yield encoded[4 if lead else 0 : -4]


def found_in(data: bytes, cores: Iterable[str]) -> list[str]:
    """Return the secrets that stand in some bytes, in any form."""
    return [core for core in cores if any(form in data for form in forms(core))]


def contents(path: Path) -> Iterator[bytes]:
    """Yield what is in a file: its name, its bytes, and where it is an archive the bytes of its parts."""
    data = path.read_bytes()
    yield str(path).encode(errors="surrogateescape")
    yield data
    try:
        with ZipFile(BytesIO(data)) as archive:
            yield from map(archive.read, archive.namelist())
    except (BadZipFile, zlib.error):
        return


def echo(user: str, password: str) -> str:
    """Return what a server may say that repeats what it was sent: the header, and the password in several forms."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return (
        f"Basic {pair} {password} {quote(password)} {quote(password, safe='')} {b64encode(password.encode()).decode()}"
    )
