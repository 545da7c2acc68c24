"""Encrypt backups with a password: scrypt derives the key, ChaCha20-Poly1305 encrypts each frame.

Both come from the package ``cryptography``. The construction is STREAM (https://eprint.iacr.org/2015/189): the nonce is
the number of the frame, so frames cannot be omitted, repeated or reordered; each file has its own key, so no frame can
come from another file.
"""

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import orjson

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MAGIC = b"dataloader-backup-encrypted 1 "
"""The start of an encrypted file; the parameters follow as JSON, up to the end of the line."""
_COST = 2**16
"""scrypt's N: 64 MiB and some tenths of a second for each password (https://www.rfc-editor.org/rfc/rfc7914)."""
_MOST_COST = 2**20
"""The largest N accepted from a file, so that a forged one cannot exhaust the memory."""
_R, _P = 8, 1
_SALT = 16


@dataclass(frozen=True, slots=True)
class Lock:
    """Encrypts and decrypts the frames of one file."""

    line: bytes
    """The file's first line, with the parameters."""
    key: bytes

    @classmethod
    def new(cls, password: str) -> Self:
        """Create the lock of a new file."""
        return cls._of(password, {"salt": _random(), "file": _random(), "n": _COST})

    def sibling(self, password: str) -> Self:
        """Create the lock of another new file with the same salt, which is faster."""
        return self._of(password, {**orjson.loads(self.line.removeprefix(MAGIC)), "file": _random()})

    @classmethod
    def read(cls, line: bytes, password: str) -> Self:
        """Create the lock of an existing file from its first line.

        Raises:
            ValueError: the line is invalid.
        """
        parameters = orjson.loads(line.removeprefix(MAGIC))
        return cls._of(password, {name: parameters[name] for name in ("salt", "file", "n")})

    @classmethod
    def _of(cls, password: str, parameters: dict[str, str | int]) -> Self:
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - few files are encrypted
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        cost = parameters["n"]
        if not isinstance(cost, int) or not 2**10 <= cost <= _MOST_COST or cost & (cost - 1):
            raise ValueError("n")
        master = _master(password, b64decode(str(parameters["salt"])), cost)
        info = b64decode(str(parameters["file"]))
        key = HKDF(SHA256(), 32, salt=None, info=b"dataloader backup " + info).derive(master)
        return cls(MAGIC + orjson.dumps(parameters) + b"\n", key)

    def seal(self, number: int, frame: bytes) -> bytes:
        """Encrypt a frame."""
        return self._cipher().encrypt(number.to_bytes(12), frame, self.line)

    def open(self, number: int, sealed: bytes) -> bytes | None:
        """Decrypt a frame; None if the password is wrong, or the frame does not belong at this place of this file."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            return self._cipher().decrypt(number.to_bytes(12), sealed, self.line)
        except InvalidTag:
            return None

    def _cipher(self) -> "ChaCha20Poly1305":
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

        return ChaCha20Poly1305(self.key)


@lru_cache(maxsize=8)
def _master(password: str, salt: bytes, cost: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

    return Scrypt(salt, 32, cost, _R, _P).derive(password.encode())


def _random() -> str:
    return b64encode(os.urandom(_SALT)).decode()
