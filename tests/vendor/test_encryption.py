"""Encrypted workbooks: opening with the password, and errors for wrong passwords."""

from io import BytesIO
from pathlib import Path
from random import Random

import msoffcrypto
import openpyxl
import pytest

from dataloader.common import DataloaderError, ExitCode, InputError
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.vendor import check_workbook, read_password
from dataloader.vendor.encryption import MAX_PASSWORD, is_encrypted
from tests.support.command import Command
from tests.support.marks import THOROUGH

PASSWORD = "correct horse, b\N{LATIN SMALL LETTER A WITH DIAERESIS}ttery"


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A batch with an encrypted workbook."""
    return generate("spring", {"snapset_3": 4, "empty": 1}, tmp_path_factory.mktemp("batches"), password=PASSWORD)


def test_encrypted_workbook_opens_in_another_program(batch: Batch) -> None:
    """It has Office's format, and the same content as an unencrypted one."""
    plain = BytesIO()
    with batch.workbook.open("rb") as stream:
        book = msoffcrypto.OfficeFile(stream)
        assert book.is_encrypted()
        assert (book.type, book.info["passwordKeyBits"], book.info["spinValue"]) == ("agile", 256, 100_000)
        book.load_key(password=PASSWORD, verify_password=True)
        book.decrypt(plain, verify_integrity=True)
    rows = list(openpyxl.load_workbook(plain)["Cards"].iter_rows(min_row=2, values_only=True))
    assert [row[1] for row in rows] == [card.uuid for card in batch.manifest.cards()]


def test_encrypted_workbook_reveals_nothing(batch: Batch) -> None:
    """The file contains neither UUIDs nor parts of a workbook."""
    content = batch.workbook.read_bytes()
    assert is_encrypted(batch.workbook)
    assert b"xl/worksheets" not in content
    assert not any(card.uuid.encode() in content for card in batch.manifest.cards())


def test_encrypted_workbook_is_validated(batch: Batch, tmp_path: Path) -> None:
    """With the password, the whole content is checked; a password for a plain workbook is ignored."""
    assert check_workbook(batch.workbook, PASSWORD).cards == 5
    plain = generate("plain", {"empty": 2}, tmp_path).workbook
    assert not is_encrypted(plain)
    assert check_workbook(plain, PASSWORD).cards == 2


@pytest.mark.parametrize(
    ("password", "said"),
    [
        (None, "is encrypted (give the password with --password-file, or save it without one)"),
        ("correct horse", "is encrypted with another password (correct the password file)"),
        ("", "is encrypted (give the password with --password-file, or save it without one)"),
    ],
)
def test_wrong_password_is_an_error(batch: Batch, password: str | None, said: str) -> None:
    """One line says what is missing, and does not repeat the password."""
    with pytest.raises(InputError) as caught:
        check_workbook(batch.workbook, password)
    assert str(caught.value) == f"{batch.workbook}: {said}"


@THOROUGH
def test_damaged_encrypted_workbook_is_rejected(batch: Batch, tmp_path: Path) -> None:
    """Damaged or truncated anywhere, it is rejected, or has the same cards as before; no internal error."""
    whole = batch.workbook.read_bytes()
    path = tmp_path / "damaged.xlsx"
    source = Random(4)
    refused = 0
    for _ in range(15):
        at = source.randrange(8, len(whole))
        path.write_bytes(whole[:at] + source.randbytes(8) + whole[at + 8 :] if source.random() < 0.7 else whole[:at])
        try:
            assert check_workbook(path, PASSWORD).cards == 5
        except DataloaderError as error:
            assert isinstance(error, InputError)  # noqa: PT017 - both outcomes are valid
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo", "tab\there", "x" * (MAX_PASSWORD + 1)])
def test_unusable_password_is_rejected(tmp_path: Path, content: str) -> None:
    """Empty, several lines, or longer than Office allows; the error does not repeat it."""
    path = tmp_path / "password"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_password(path)
    assert str(caught.value) == f"{path}: a workbook's password is one line of 1 to 255 characters (correct the file)"


@pytest.mark.parametrize("content", ["x", "x\n", "x\r\n"])
def test_line_end_is_not_part_of_the_password(tmp_path: Path, content: str) -> None:
    """Editors add one."""
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    assert read_password(path) == "x"


def test_validate_accepts_an_encrypted_workbook(batch: Batch, here: Command, tmp_path: Path) -> None:
    """It is valid with the password file, and reported as encrypted without; other files need no password."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n", "utf-8")
    (tmp_path / "password").chmod(0o600)
    done = here("validate", batch.workbook.parent, "--password-file", "password")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert f"ok  {batch.workbook}: workbook, batch spring, 5 cards" in done.stdout.splitlines()
    done = here("validate", batch.workbook.parent)
    assert done.code == ExitCode.INPUT
    assert done.stderr.startswith(f"error: {batch.workbook}: is encrypted (give the password with --password-file")
