"""What must not get out, and how it is taken out of what others say.

Nothing of ours prints a password. But a server, or a proxy before it, may repeat what it was sent, in an error or
in the middle of an answer.
"""

import re
from base64 import b64encode
from html import escape
from typing import Any
from urllib.parse import quote

STAR = "***"
_DISTINCT = 8
"""Characters from which on a password that is not all letters stands nowhere by chance."""


class Secrets:
    """A user's password, in every form that it takes on its way.

    Args:
        user: the user's name.
        password: the password; without one nothing is secret.
    """

    def __init__(self, user: str | None = None, password: str | None = None) -> None:
        self._everywhere: re.Pattern[str] | None = None
        self._words: re.Pattern[str] | None = None
        if not password:
            return
        from json import dumps  # noqa: PLC0415 - keeps --version quick

        pair = f"{user}:{password}".encode(errors="surrogateescape")
        raw = password.encode(errors="surrogateescape")
        encoded = {b64encode(pair).decode(), b64encode(raw).decode()}
        plain = {
            *(password, quote(raw), quote(raw, safe="")),
            *(dumps(password)[1:-1], repr(password)[1:-1], repr(raw)[2:-1]),
            *(escape(password), escape(password).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")),
            # HTTP's own lines are read so.
            raw.decode("latin-1"),
        }
        self._words = _any_of(encoded | plain, as_words=len(password) < _DISTINCT)
        # "admin" may stand in any text of ours, and a gap in its place would tell it.
        distinct = len(password) >= _DISTINCT and not password.isalpha()
        self._everywhere = _any_of(encoded | plain if distinct else encoded)

    def hide(self, text: str) -> str:
        """Return a text of ours, which may quote another's, without what is secret."""
        return text if self._everywhere is None else self._everywhere.sub(STAR, text)

    def hide_in_theirs(self, text: str) -> str:
        """Return a text that a server has sent without what is secret; a weak password is looked for, too."""
        return text if self._words is None else self._words.sub(STAR, text)

    def hide_in_data(self, data: Any) -> Any:
        """Return JSON data with every text in it as ``hide`` has it."""
        if self._everywhere is None:
            return data
        if isinstance(data, str):
            return self.hide(data)
        if isinstance(data, dict):
            return {self.hide(key): self.hide_in_data(value) for key, value in data.items()}
        return [self.hide_in_data(each) for each in data] if isinstance(data, list | tuple) else data


def _any_of(forms: set[str], *, as_words: bool = False) -> re.Pattern[str]:
    # The longer one first, of which the shorter may be the beginning.
    either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)" if as_words else either)
