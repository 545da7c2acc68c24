"""Encrypt workbooks with a password, in Office's format, for sending them by mail.

Agile encryption (AES-256, SHA-512): [MS-OFFCRYPTO], section 2.3.4.10; Excel 2010 and later and LibreOffice read it. The
plain workbook is held in memory, and never written to disk.
"""

from io import BytesIO
from pathlib import Path
from typing import IO

from dataloader.common import InputError, Problem, read_password_file

MAX_PASSWORD = 255
"""The longest password in characters that Office accepts ([MS-OFFCRYPTO], section 2.3.4.10)."""
_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
"""The start of a compound file ([MS-CFB], section 2.2); encrypted workbooks are such files, plain ones are not."""


def read_password(path: Path) -> str:
    """Read a workbook's password from a file that contains nothing else.

    Raises:
        FileError: the file can't be read.
        InputError: it contains no password that Office accepts.
    """
    password = read_password_file(path)
    if not 1 <= len(password) <= MAX_PASSWORD or not password.isprintable():
        raise InputError(
            Problem(
                str(path),
                f"a workbook's password is one line of 1 to {MAX_PASSWORD} characters",
                "correct the file",
            )
        )
    return password


def encrypt(plain: IO[bytes], password: str, stream: IO[bytes]) -> None:
    """Encrypt a workbook. The salt is random, so the same workbook never gives the same bytes twice.

    Args:
        plain: the workbook; must be seekable.
        password: of 1 to 255 characters.
        stream: the output.
    """
    from msoffcrypto.format.ooxml import OOXMLFile  # noqa: PLC0415 - importing it takes long, and is rarely needed

    OOXMLFile(plain).encrypt(password, stream)


def is_encrypted(path: Path) -> bool:
    """Return whether a file is an encrypted workbook.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def decrypt(path: Path, password: str | None) -> BytesIO:
    """Decrypt a workbook into memory.

    Raises:
        OSError: the file can't be read.
        InputError: the password is missing or wrong, or the file is damaged.
    """
    if not password:
        raise InputError(
            Problem(str(path), "is encrypted", "give the password with --password-file, or save it without one")
        )
    from msoffcrypto.exceptions import InvalidKeyError  # noqa: PLC0415 - as above
    from msoffcrypto.format.ooxml import OOXMLFile  # noqa: PLC0415 - as above

    plain = BytesIO()
    source = BytesIO(path.read_bytes())
    try:
        book = OOXMLFile(source)
        book.load_key(password, verify_password=True)
        book.decrypt(plain)
    except InvalidKeyError as error:
        raise InputError(
            Problem(str(path), "is encrypted with another password", "correct the password file")
        ) from error
    except Exception as error:  # the library raises various exceptions for damaged files
        raise InputError(
            Problem(
                str(path), f"cannot be decrypted: {error}", "take a copy that is whole, or save it without a password"
            )
        ) from error
    plain.seek(0)
    return plain
