"""Find secrets in everything that a command printed or wrote, in every encoding."""

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote
from zipfile import BadZipFile, ZipFile


def secret(core: str) -> str:
    """Return a password from a unique core of letters and digits, with special characters on both sides."""
    return f"ä:/{core}%@ü"


def forms(core: str) -> Iterator[bytes]:
    """Yield the encodings of a secret's core: plain, which includes percent-encoded and escaped ones, and base64."""
    yield core.encode()
    # It may start at any of the three bytes that become four characters; characters shared with neighbours are cut.
    for lead in range(3):
        encoded = b64encode(b"\0" * lead + core.encode())
        yield encoded[4 if lead else 0 : -4]


def found_in(data: bytes, cores: Iterable[str]) -> list[str]:
    """Return the secrets found in bytes, in any encoding."""
    return [core for core in cores if any(form in data for form in forms(core))]


def contents(path: Path) -> Iterator[bytes]:
    """Yield the contents of a file: its name, its bytes, and the parts of an archive."""
    data = path.read_bytes()
    yield str(path).encode(errors="surrogateescape")
    yield data
    try:
        with ZipFile(BytesIO(data)) as archive:
            yield from map(archive.read, archive.namelist())
    except (BadZipFile, zlib.error):
        return


def echo(user: str, password: str) -> str:
    """Return a server's text that echoes what it was sent: the header, and the password in several encodings."""
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return (
        f"Basic {pair} {password} {quote(password)} {quote(password, safe='')} {b64encode(password.encode()).decode()}"
    )
