"""What a document model is: the answers to three questions.

Which databases, which documents for a card (or a snapset; and what becomes of them when the card is
revoked), which views. A model is one file in this folder that holds a ``MODEL``, its map functions under
``views/`` and its schemas under ``schemas/``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from dataloader.common import Document


class Role(StrEnum):
    """Whose a preference set is."""

    CARD = "card"
    SNAPSET = "snapset"
    PERSONA = "persona"
    """A made-up person of ``samples/personas``."""
    PERSON = "person"
    """A person that ``seed`` invents, with a log-in."""
    GIVEN = "given"
    """A document that an operator gives as it is, or a site's credentials."""


@dataclass(frozen=True, slots=True)
class Login:
    """What an invented person logs in with; never in a staging or production target."""

    name: str
    password: str
    email: str


class Entry(NamedTuple):
    """A preference set and whose it is: what documents are made from."""

    key: str
    """What the servers are asked for: a card's UUID, a snapset's or a persona's name."""
    preferences: Mapping[str, Any]
    """The preference set, ``{"flat": …}``, its numbers in normal form."""
    created: str
    """The batch's or the snapset's own time of creation, ISO 8601 in UTC with milliseconds and Z."""
    role: Role
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document that entries become, one document an entry."""

    name: str
    """The document's type; its schema is ``schemas/MODEL/NAME.schema.json``."""
    database: str
    """The database that it belongs in, without a target's prefix."""
    id: Callable[[str], str]
    """The document's ``_id`` for an entry's key; keeps the order of keys."""
    document: Callable[[Entry], Document]
    """The document for an entry."""
    roles: frozenset[Role] = frozenset(Role)
    """The roles of the entries that have one."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A question that the servers ask for a card, and what they must be told."""

    database: str
    view: str | None
    """The view asked by the card's key, in the design document ``views``; None asks for the document itself."""
    include_docs: bool
    kinds: Mapping[str, str]
    """Where in the answer's row a document stands (``value``, ``doc``, ``value.gpiiKey``), and its kind."""


@dataclass(frozen=True, slots=True)
class Marking:
    """How a document says that its card is revoked, so that the servers give the card nothing."""

    is_marked: Callable[[Document], bool]
    """Whether the document says that its card is revoked."""
    stops: Callable[[Document], bool]
    """Whether the servers heed what it says, and so give the card nothing."""
    mark: Callable[[Document, str, str], Document]
    """The document, revoked for a reason at a time (ISO 8601 in UTC with milliseconds and Z)."""
    unmark: Callable[[Document, str], Document]
    """The document, no longer revoked, changed at a time."""


@dataclass(frozen=True, slots=True)
class Revoking:
    """What is done to one kind of document when its card is revoked."""

    kind: str
    marking: Marking | None = None
    """How its documents are marked; None where they are deleted."""
    holds_set: bool = False
    """Whether they hold the preference set, which is its owner's."""
    keeps: tuple[str, ...] = ()
    """Kinds before this one whose documents the tombstones of this one keep, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A document model."""

    name: str
    databases: tuple[str, ...]
    """Every database of the model, without a target's prefix."""
    kinds: tuple[Kind, ...]
    """In the order in which they are loaded: what other documents refer to comes first."""
    lookups: tuple[Lookup, ...]
    """What ``verify`` asks the views for each card."""
    revoking: tuple[Revoking, ...]
    """What ``revoke`` does, and undoes, in this order: what lets a card in comes last, and comes back last."""
    serves: Callable[[Mapping[str, Document | None]], bool]
    """Whether some server of the model gives a card settings, by its live documents of each kind; None: not there."""
    misleads: Callable[[str, str, Document], str]
    """How a valid document of a kind leads the card of a key to another one's documents; empty if it does not."""
    former: Mapping[str, Kind] = field(default_factory=dict)
    """Kinds that earlier versions of this tool wrote beside a card's document of another kind, by that kind's name.

    They are superfluous once that document is as it is now.
    """
    fixes_snapsets: bool = False
    """Whether the servers refuse to change a snapset's own documents, so that no change of one is a person's."""

    def kind(self, name: str) -> Kind:
        """Return a kind by its name.

        Raises:
            KeyError: the model makes no documents of this kind.
        """
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(name)
