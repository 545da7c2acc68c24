"""Escape text from outside: a server, a file or a file name may contain control sequences for a terminal."""


def printable(text: str) -> str:
    r"""Escape every character that can't be printed, as ``\x1b`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def printable_json(text: str, encoding: str = "utf-8") -> str:
    r"""Escape every character in JSON that can't be printed or encoded (``\u202e``).

    Args:
        text: JSON on one line; such characters occur only inside its strings.
        encoding: the encoding of the output.
    """
    if text.isprintable() and (text.isascii() or _fits(text, encoding)):
        return text
    return "".join(each if each.isprintable() and _fits(each, encoding) else _json_escape(each) for each in text)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    # As a surrogate pair if it has more than 16 bits.
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
