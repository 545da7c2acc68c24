"""Mask passwords in text from outside.

dataloader prints no passwords. But a server, or a proxy in front of it, may echo what it was sent, in any encoding.
"""

import re
from base64 import b64encode
from typing import Any

STAR = "***"
_DISTINCT = 8
"""A password with digits or punctuation and at least this many characters is never matched by chance."""
_FEW = 4
"""A password with at least this many bytes is never matched by chance when its bytes are written as numbers."""
_BYTE = 255
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "/": "sol", " ": "nbsp"}
"""HTML names of characters."""
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
"""The letters that JSON and most languages escape characters with."""


class Secrets:
    """A user's password in every encoding in which a server may echo it.

    Args:
        user: the user's name.
        password: the password; None if there is none to mask.
    """

    def __init__(self, user: str | None = None, password: str | None = None) -> None:
        self._everywhere: re.Pattern[str] | None = None
        self._words: re.Pattern[str] | None = None
        if not password:
            return
        pair = f"{user}:{password}".encode(errors="surrogateescape")
        raw = password.encode(errors="surrogateescape")
        encoded = [_base64(pair), _base64(raw), _hex(pair), *([_numbers(raw)] if len(raw) >= _FEW else [])]
        # A few hex digits may be part of any UUID.
        encoded += [_hex(raw)] if len(raw) >= _DISTINCT else []
        plain = [_plain(password), *(re.escape(form) for form in _misread(raw))]
        self._words = _any_of(encoded + plain, as_words=len(password) < _DISTINCT)
        # "admin" may occur in any of our texts, and masking it would reveal it.
        distinct = len(password) >= _DISTINCT and not password.isalpha()
        self._everywhere = _any_of(encoded + plain if distinct else encoded)

    def hide(self, text: str) -> str:
        """Mask the password in one of our messages, which may quote a server's text."""
        return text if self._everywhere is None else self._everywhere.sub(STAR, text)

    def hide_in_theirs(self, text: str) -> str:
        """Mask the password in a text from a server, even a short or common password."""
        return text if self._words is None else self._words.sub(STAR, text)

    def hide_in_data(self, data: Any) -> Any:
        """Mask the password in every text of JSON data."""
        if self._everywhere is None:
            return data
        if isinstance(data, str):
            return self.hide(data)
        if isinstance(data, dict):
            return {self.hide(key): self.hide_in_data(value) for key, value in data.items()}
        return [self.hide_in_data(each) for each in data] if isinstance(data, list | tuple) else data


def _any_of(patterns: list[str], *, as_words: bool = False) -> re.Pattern[str]:
    # The longest first: a shorter one may be its prefix.
    either = "|".join(sorted(patterns, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)" if as_words else either)


def _plain(password: str) -> str:
    """Return a pattern for a password in which each character may be escaped in its own way."""
    return "".join(map(_character, password))


def _character(character: str) -> str:
    """Return a pattern for one character, plain or escaped as in URLs, HTML, JSON, JavaScript, Python or Erlang."""
    point = ord(character)
    raw = character.encode(errors="surrogateescape")
    # "%252F" is a "/" that was encoded twice.
    percent = "".join(rf"%(?:25)*{_cased(f'{byte:02x}')}" for byte in raw)
    html = rf"&(?:amp;)*#(?:0*{point}|[xX]0*{_cased(f'{point:x}')});?"
    named = _NAMED.get(character)
    units = character.encode("utf-16-be", "surrogatepass")
    escaped = "".join(rf"\\+u{_cased(units[at : at + 2].hex())}" for at in range(0, len(units), 2))
    in_bytes = "".join(rf"\\+x{_cased(f'{byte:02x}')}" for byte in raw)
    forms = [rf"\\*{re.escape(character)}", percent, html, escaped, in_bytes]
    # In Latin-1.
    forms += [rf"(?:\\+x|%(?:25)*){_cased(f'{point:02x}')}"] if point <= _BYTE else []
    forms += [rf"\\+U{_cased(f'{point:08x}')}", rf"\\+[ux]\{{{_cased(f'{point:x}')}\}}"]
    forms += [rf"&(?:amp;)*{named};"] if named else []
    # In form data a space is "+". Line ends are escaped with letters.
    forms += [r"\+"] if character == " " else []
    forms += [rf"\\+{_LETTERS[character]}"] if character in _LETTERS else []
    return f"(?:{'|'.join(forms)})"


def _cased(digits: str) -> str:
    return "".join(f"[{each}{each.upper()}]" if each.isalpha() else each for each in digits)


def _base64(raw: bytes) -> str:
    """Return a pattern for bytes in base64, of either alphabet, padded or not."""
    text = b64encode(raw).decode()
    # A few letters without padding may be part of any word.
    body, padding = (text.rstrip("="), "={0,2}") if len(raw) >= _DISTINCT else (text, "")
    return "".join({"+": "[+-]", "/": "[/_]"}.get(each, each) for each in body) + padding


def _numbers(raw: bytes) -> str:
    """Return a pattern for bytes as Erlang prints them: ``[112,97,115]``, ``<<112,97,115>>``."""
    return r"(?<![0-9])" + r",\s*".join(map(str, raw)) + r"(?![0-9])"


def _hex(raw: bytes) -> str:
    return _cased(raw.hex())


def _misread(raw: bytes) -> set[str]:
    """Return the texts that UTF-8 bytes turn into when decoded as Latin-1, as HTTP headers are."""
    return {raw.decode("latin-1"), raw.decode("cp1252", "replace")}
