"""Cut JSON that is nested too deeply for our parser, which a user can store in a document of their own.

CouchDB accepts any depth; our parser stops at about a thousand levels. Without this, one such document would stop every
command that reads it together with others, even the one that revokes its card.
"""

import re

DEPTH = 100
"""The levels to keep; no document of the servers has more than a dozen."""
PLACEHOLDER = b'"left out: nested too deeply"'
"""Stands for what is nested deeper."""
# A string without an end counts as one, and nothing is tried twice, so each byte is looked at once.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+"?+|[\[{]+|[\]}]+', re.DOTALL)


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
