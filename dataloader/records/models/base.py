"""The interface of document models.

A document model answers three questions: which databases, which documents for a card or a snapset (and what happens to
them when the card is revoked), and which views. It is one file in this folder that defines a ``MODEL``, with its map
functions under ``views/`` and its schemas under ``schemas/``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from dataloader.common import Document


class Role(StrEnum):
    """Who a preference set belongs to."""

    CARD = "card"
    SNAPSET = "snapset"
    PERSONA = "persona"
    """A fictional person of ``samples/personas``."""
    PERSON = "person"
    """A person created by ``seed``, with a log-in."""
    GIVEN = "given"
    """A document given by an operator as it is, or a site's credentials."""


@dataclass(frozen=True, slots=True)
class Login:
    """The log-in of a person created by ``seed``; never in a staging or production target."""

    name: str
    password: str
    email: str


class Entry(NamedTuple):
    """A preference set and its owner; documents are made from it."""

    key: str
    """The key that servers request: a card's UUID, or the name of a snapset or persona."""
    preferences: Mapping[str, Any]
    """The preference set, ``{"flat": …}``, with numbers in canonical form."""
    created: str
    """The creation time of the batch or snapset, ISO 8601 in UTC with milliseconds and Z."""
    role: Role
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document; each entry makes one."""

    name: str
    """The document's type; its schema is ``schemas/MODEL/NAME.schema.json``."""
    database: str
    """Its database, without a target's prefix."""
    id: Callable[[str], str]
    """Returns the document's ``_id`` for an entry's key; keeps the order of keys."""
    document: Callable[[Entry], Document]
    """Returns the document for an entry."""
    roles: frozenset[Role] = frozenset(Role)
    """The roles of entries that make one."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A query that the servers make for a card, and the expected answer."""

    database: str
    view: str | None
    """The view in the design document ``views``, queried by the card's key; None to request the document itself."""
    include_docs: bool
    kinds: Mapping[str, str]
    """Where in a row of the answer a document is (``value``, ``doc``, ``value.gpiiKey``), and its kind."""


@dataclass(frozen=True, slots=True)
class Marking:
    """How to mark a document as revoked, so that the servers give the card nothing."""

    is_marked: Callable[[Document], bool]
    """Returns whether the document is marked as revoked."""
    stops: Callable[[Document], bool]
    """Returns whether the servers obey the mark."""
    mark: Callable[[Document, str, str], Document]
    """Returns the document, revoked for a reason at a time (ISO 8601 in UTC with milliseconds and Z)."""
    unmark: Callable[[Document, str], Document]
    """Returns the document, no longer revoked, changed at a time."""


@dataclass(frozen=True, slots=True)
class Revoking:
    """What happens to one kind of document when its card is revoked."""

    kind: str
    marking: Marking | None = None
    """How documents of this kind are marked; None if they are deleted."""
    holds_set: bool = False
    """Whether they contain the preference set, which belongs to the card's owner."""
    keeps: tuple[str, ...] = ()
    """Earlier kinds that the tombstones of this one preserve, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A document model."""

    name: str
    databases: tuple[str, ...]
    """All databases of the model, without a target's prefix."""
    kinds: tuple[Kind, ...]
    """In the order of loading: documents come after those that they refer to."""
    lookups: tuple[Lookup, ...]
    """The queries that ``verify`` makes for each card."""
    revoking: tuple[Revoking, ...]
    """What ``revoke`` does, in this order: the document that gives access comes last, also when restoring."""
    serves: Callable[[Mapping[str, Document | None]], bool]
    """Returns whether any server would give a card settings, from its live documents by kind (None: absent)."""
    misleads: Callable[[str, str, Document], str]
    """Returns how a valid document of a kind refers to another card's documents; empty if it does not."""
    access_views: tuple[tuple[str, str], ...] = ()
    """The database and name of each view without which no card gets a token, or no token is accepted."""
    former: Mapping[str, Kind] = field(default_factory=dict)
    """Kinds that earlier versions of dataloader wrote in addition to a kind, by that kind's name.

    They are obsolete once the document of that kind is up to date.
    """
    fixes_snapsets: bool = False
    """Whether servers refuse to change the documents of snapsets, so that no change of one is by a user."""

    @property
    def card_views(self) -> frozenset[str]:
        """The views that the servers query when somebody uses a card."""
        return frozenset(view for _, view in self.access_views) | {each.view for each in self.lookups if each.view}

    def kind(self, name: str) -> Kind:
        """Return a kind by its name.

        Raises:
            KeyError: the model has no such kind.
        """
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(name)
