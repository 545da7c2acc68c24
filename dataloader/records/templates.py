"""Prepare the documents of many cards quickly: those of one snapset differ only in the card's UUID."""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from dataloader.common import DIGITS, Document, Prepared, canonical
from dataloader.records.models import Entry, Kind

ANY_CARD = "00000000-0000-4000-8000-000000000000"
"""The UUID of an example: a card's own data is not part of a version."""
_ANY_OTHER = "ffffffff-ffff-4fff-bfff-ffffffffffff"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class _Template(NamedTuple):
    preferences: Mapping[str, Any]
    parts: list[bytes]
    """The document's canonical JSON around each place of the UUID."""


class Templates:
    """The documents of one kind for cards, made from a template for each snapset.

    Args:
        kind: the kind.
        validate: raises an error for an invalid document, if given; called for each snapset, and if a key is no UUID.
    """

    def __init__(self, kind: Kind, validate: Callable[[Document], None] | None = None) -> None:
        self._kind = kind
        self._validate = validate
        self._templates: dict[tuple[int, str, str], _Template] = {}

    def prepared(self, entry: Entry) -> Prepared:
        """Return a card's document, as ``prepare(kind.document(entry))`` does."""
        body = self.body(entry)
        return Prepared(self._kind.id(entry.key), sha256(body).hexdigest()[:DIGITS], body)

    def body(self, entry: Entry) -> bytes:
        """Return the canonical JSON of a card's document."""
        if entry.login is not None:
            # Only this person's documents contain the log-in.
            return canonical(self._document(entry))
        # The template keeps the preference set alive, so that no other object can have the same id().
        key = id(entry.preferences), entry.created, entry.role
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._made(entry)
        if not template.parts or not _UUID.fullmatch(entry.key):
            return canonical(self._document(entry))
        return entry.key.encode().join(template.parts)

    def _document(self, entry: Entry) -> Document:
        document = self._kind.document(entry)
        if self._validate is not None:
            self._validate(document)
        return document

    def _made(self, entry: Entry) -> _Template:
        self._document(entry)
        first, other = (
            canonical(self._kind.document(entry._replace(key=key))).split(key.encode())
            for key in (ANY_CARD, _ANY_OTHER)
        )
        # They differ if the preference set itself has one of these UUIDs.
        return _Template(entry.preferences, first if first == other else [])
