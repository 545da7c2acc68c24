"""Mask passwords in text from outside.

dataloader prints no passwords. But a server, or a proxy in front of it, may echo what it was sent, in any encoding.
"""

import re
from base64 import b32encode, b64encode
from collections.abc import Iterable
from itertools import groupby
from typing import Any
from unicodedata import normalize

STAR = "***"
_DISTINCT = 8
"""A password with digits or punctuation and at least this many characters is never matched by chance."""
_FEW = 4
"""A password with at least this many bytes is never matched by chance when its bytes are written as numbers."""
_ASCII, _BYTE = 127, 255
_BMP = 0xFFFF
_ANY, _SOME, _MANY = "{0,32}", "{1,32}", 33
"""How often something may be repeated. Without a limit, a long text of backslashes alone would take hours."""
_MOST = 100_000
"""The most characters of a text from a server to keep."""
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "/": "sol", " ": "nbsp"}
"""HTML names of characters."""
_IN_BASE64 = {"+": "(?:[+-]|%2[Bb])", "/": r"(?:\\?/|_|%2[Ff])"}
"""Patterns for the characters of base64 that have another form in URLs and JSON."""
_MEMBER = re.compile(
    r"""(?P<name>(?:password|secret)[\\"'>]{0,9}\s{0,3}[:=,]\s{0,3})"""
    r"""(?:(?P<quote><{0,2}\\{0,8}["'])[^"'\\]+|[^\s"'\\<>,;&{}()\[\]]+)""",
    re.IGNORECASE,
)
"""A member of a document with a secret, in JSON, Erlang or a form."""
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
        wide = [password.encode(form, "surrogatepass") for form in ("utf-16-le", "utf-16-be")]
        encoded = [_base64(pair), _base64(raw), _hex(pair)]
        encoded += [_numbers(raw), _numbers(map(ord, password))] if len(raw) >= _FEW else []
        # A few hex digits may be part of any UUID, and a few letters of base64 of any word.
        if len(raw) >= _DISTINCT:
            encoded.append(_base32(raw))
            encoded += [form for each in (raw, *wide) for form in (_hex(each), *_base64_within(each))]
        plain = [*map(_plain, _composed(password)), *map(re.escape, _misread(raw, *wide))]
        self._words = _any_of(encoded + plain, as_words=len(password) < _DISTINCT)
        # "admin" may occur in any of our texts, and masking it would reveal it.
        distinct = len(password) >= _DISTINCT and not password.isalpha()
        self._everywhere = _any_of(encoded + plain if distinct else encoded)

    def hide(self, text: str) -> str:
        """Mask the password in one of our messages, which may quote a server's text."""
        return text if self._everywhere is None else self._everywhere.sub(STAR, text)

    def hide_in_theirs(self, text: str) -> str:
        """Mask the password in a text from a server, even a short or common password, and secrets in documents."""
        text = _MEMBER.sub(rf"\g<name>\g<quote>{STAR}", text[:_MOST])
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
    runs = [(character, len([*run])) for character, run in groupby(password)]
    before = ["", *(character for character, _ in runs)]
    return "".join(
        _run(character, count, _ANY if last == "\\" else _SOME)
        for last, (character, count) in zip(before, runs, strict=False)
    )


def _run(character: str, count: int, some: str) -> str:
    """Return a pattern for a character that is repeated."""
    plain, *escaped = _forms(character, some)
    if character != "\\":
        return f"(?:{'|'.join([plain, *escaped])})" * count
    # Each may be escaped with more of them, and with a pattern for each the time would grow exponentially. So all are
    # taken at once, with those that escape the next character.
    return rf"(?:\\{{{count},{count * _MANY}}}+|(?:{'|'.join(escaped)}){{{count}}})"


def _forms(character: str, some: str) -> list[str]:
    """Return patterns for one character, plain or escaped as in URLs, HTML, JSON, JavaScript, Python, C or mail.

    No text matches two of them: the time to find out that a password is cut off would grow exponentially.

    Args:
        character: the character.
        some: how many backslashes are needed where some are.
    """
    point = ord(character)
    raw = character.encode(errors="surrogateescape")
    # "%252F" is a "/" that was encoded twice.
    percent = "".join(rf"%(?:25){_ANY}{_cased(f'{byte:02x}')}" for byte in raw)
    html = rf"&(?:amp;){_ANY}#(?:0{_ANY}{point}|[xX]0{_ANY}{_cased(f'{point:x}')});?"
    named = _NAMED.get(character)
    units = [
        character.encode("utf-16-be", "surrogatepass")[at : at + 2].hex() for at in range(0, 2 + 2 * (point > _BMP), 2)
    ]
    escaped = "".join(rf"(?:\\{some}|%)u{_cased(unit)}" for unit in units)
    in_bytes = "".join(rf"\\{some}x{_cased(f'{byte:02x}')}" for byte in raw)
    octal = "".join(rf"\\{some}{byte:03o}" for byte in raw)
    in_mail = "".join(rf"={_cased(f'{byte:02x}')}" for byte in raw)
    forms = [rf"\\{_ANY}{re.escape(character)}", percent, html, escaped, in_bytes, octal, in_mail]
    # In Latin-1.
    forms += [rf"(?:\\{some}x|%(?:25){_ANY}|=){_cased(f'{point:02x}')}"] if _ASCII < point <= _BYTE else []
    forms += [rf"\\{some}U{_cased(f'{point:08x}')}", rf"\\{some}[ux]\{{{_cased(f'{point:x}')}\}}"]
    forms += [rf"&(?:amp;){_ANY}{named};"] if named else []
    # In form data a space is "+". Line ends are escaped with letters.
    forms += [r"\+"] if character == " " else []
    forms += [rf"\\{some}{_LETTERS[character]}"] if character in _LETTERS else []
    return forms


def _cased(digits: str) -> str:
    return "".join(f"[{each}{each.upper()}]" if each.isalpha() else each for each in digits)


def _base64(raw: bytes) -> str:
    """Return a pattern for bytes in base64, of either alphabet, padded or not."""
    text = b64encode(raw).decode()
    # A few letters without padding may be part of any word.
    body, padding = (text.rstrip("="), "={0,2}") if len(raw) >= _DISTINCT else (text, "")
    return "".join(_IN_BASE64.get(each, each) for each in body) + padding


def _base64_within(raw: bytes) -> list[str]:
    """Return patterns for bytes in the middle of a longer text in base64, without the letters that depend on it."""
    found = []
    for before in range(3):
        text = b64encode(bytes(before) + raw).decode().rstrip("=")
        whole = text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        found.append("".join(_IN_BASE64.get(each, each) for each in whole))
    return found


def _base32(raw: bytes) -> str:
    return _cased(b32encode(raw).decode().rstrip("=").lower())


def _numbers(codes: Iterable[int]) -> str:
    """Return a pattern for bytes as Erlang and others print them: ``<<112,97,115>>``, ``112 97 115``.

    Erlang breaks long lists into lines, and indents them.
    """
    return r"(?<![0-9])" + r"(?:,\s{0,200}|\s)".join(map(str, codes)) + r"(?![0-9])"


def _hex(raw: bytes) -> str:
    """Return a pattern for bytes in hex: ``70617373``, ``70:61:73:73``, ``70 61 73 73``, ``0x70, 0x61``."""
    return r"[\s:,_-]{0,3}(?:0[xX])?".join(_cased(f"{byte:02x}") for byte in raw)


def _composed(password: str) -> set[str]:
    """Return the forms of a password with composed and decomposed accents."""
    return {password, *(normalize(form, password) for form in ("NFC", "NFD"))}


def _misread(*raws: bytes) -> set[str]:
    """Return the texts that bytes turn into when decoded as Latin-1, as HTTP headers are."""
    return {raw.decode(form, "replace") for raw in raws for form in ("latin-1", "cp1252")}
