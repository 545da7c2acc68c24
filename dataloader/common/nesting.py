"""Cut JSON that our parser can't hold, because a user can store it in a document of their own.

CouchDB accepts any depth and integers of any length; our parser stops at about a thousand levels and at 4,300 digits.
Without this, one such document would stop every command that reads it together with others, even the one that revokes
its card.
"""

import re

DEPTH = 100
"""The levels to keep; no document of the servers has more than a dozen."""
PLACEHOLDER = b'"left out: nested too deeply"'
"""Stands for what is nested deeper."""
TOO_LARGE = b'"left out: too large"'
"""Stands for such a number."""
_MANY = 300
"""Digits in a number that may be too large: the largest float has 309."""
# A string without an end counts as one, and nothing is tried twice, so each byte is looked at once.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+"?+|[\[{]+|[\]}]+', re.DOTALL)
_STRING_OR_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+"?+|-?[0-9][-+.0-9eE]{%d,}+' % (_MANY - 1), re.DOTALL)


def flattened(data: bytes) -> bytes:
    """Return JSON with everything below :data:`DEPTH` levels replaced by :data:`PLACEHOLDER`."""
    parts = []
    level = start = 0
    for token in _TOKEN.finditer(data):
        first, length = data[token.start()], token.end() - token.start()
        if first in b"[{":
            if level <= DEPTH < level + length:
                parts += [data[start : token.start() + DEPTH - level], PLACEHOLDER]
            level += length
        elif first in b"]}":
            if level - length <= DEPTH < level:
                start = token.start() + level - DEPTH
            level -= length
    return b"".join([*parts, data[start:]])


def without_large_numbers(data: bytes) -> bytes:
    """Return JSON with every number of :data:`_MANY` or more characters replaced by :data:`TOO_LARGE`."""
    return _STRING_OR_NUMBER.sub(lambda match: match[0] if match[0][:1] == b'"' else TOO_LARGE, data)
