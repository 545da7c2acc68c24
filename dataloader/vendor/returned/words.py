"""The words by which vendors say that a card is encoded, or that it is not, in the languages they write in."""

import re
from functools import lru_cache
from unicodedata import combining, normalize


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_BAD = words(  # English, German, French, Spanish, Portuguese, Italian, Dutch.
    "fail failed fails failure failures failing error errors err nok ng reject rejected rejects rejection defect "
    "defective defects broken scrap scrapped void voided damaged destroyed unreadable unusable faulty bad dead missing "
    "unencoded blank timeout aborted cancelled canceled invalid wrong misprint "
    "fehler fehlerhaft fehlgeschlagen defekt defekte kaputt ausschuss nio unlesbar zerstort beschadigt ungultig "
    "echec echoue echouee erreur defectueux defectueuse rebut rejete rejetee illisible endommage "
    "fallo fallido fallida fallada fallado defectuoso defectuosa rechazado rechazada averiado danado ilegible "
    "falha falhou erro defeituoso rejeitado errore errori fallito fallita difettoso scarto guasto "
    "mislukt fout fouten afgekeurd onleesbaar beschadigd kapot uitval"
)
_GOOD = words(
    "ok okay pass passed success successful succeeded done good encoded written programmed verified valid io "
    "erfolgreich erfolg gut kodiert codiert beschrieben reussi reussie bon encode correcto correcta exito exitoso "
    "codificado codificada bien gelukt goed gecodeerd geslaagd riuscito sucesso"
)
_ANSWERS = words("yes no y n true false ja nein oui non si nee sim nao")
"""Results only where nothing else says what became of the cards: many columns hold these."""
_NONE = words("no none not without 0 kein keine ohne sans aucun aucune sin ningun ninguna geen zonder senza")
_NOT = words("not never non nicht niet nie no pas sin un didnt wasnt isnt couldnt cannot cant")
_DONE = words(
    "encoded encode coded written write programmed program used use ok done good working work works readable read "
    "usable initialised initialized personalised personalized deliver delivered ship shipped "
    "kodiert codiert beschrieben verwenden lesbar ok "
    "encode encodee encodage programme ecrite ecrit lisible utiliser "
    "codificado codificada grabado grabada usar legible gecodeerd leesbaar gebruiken codificata scritto"
)
_SPLIT = re.compile(r"[^a-z0-9]+")
_MAX = 2_000
"""Characters of a cell that are looked at."""


@lru_cache(8192)
def _tokens(text: str) -> tuple[str, ...]:
    text = normalize("NFKD", text[:_MAX].replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    plain = "".join(each for each in text if not combining(each)).casefold()
    # "n.i.O." and "i.O.", in which German says not in order and in order.
    plain = re.sub(r"\bn\s*\.?\s*i\s*\.\s*o\b", " nio ", plain)
    return tuple(filter(None, _SPLIT.split(re.sub(r"\bi\s*\.\s*o\b", " io ", plain))))


def says_failed(text: str) -> bool:
    """Return whether a text says that something went wrong; ``no error`` does not."""
    tokens = _tokens(text)
    if says_not_encoded(text):
        return True
    bad = [at for at, token in enumerate(tokens) if token in _BAD]
    return any(not at or tokens[at - 1] not in _NONE for at in bad)


def says_not_encoded(text: str) -> bool:
    """Return whether a text says that a card is not encoded, or not to be used: ``NOT ENCODED``."""
    tokens = _tokens(text)
    return "unencoded" in tokens or any(
        token in _NOT and {*tokens[at + 1 : at + 4]} & _DONE for at, token in enumerate(tokens)
    )


def says_result(text: str, *, answers: bool) -> bool:
    """Return whether a whole text is a result such as ``ok`` or ``passed``.

    Args:
        text: the text of a cell.
        answers: whether ``yes`` and ``no`` count, too.
    """
    tokens = {*_tokens(text)}
    return bool(tokens) and (tokens <= _GOOD or (answers and tokens <= _GOOD | _ANSWERS))


def says_nothing(text: str) -> bool:
    """Return whether a text stands for an empty cell: a dash, ``none``, ``n/a``, ``0``."""
    tokens = _tokens(text)
    return not tokens or " ".join(tokens) in {
        "0",
        "none",
        "n a",
        "na",
        "no",
        "null",
        "nil",
        "false",
        "nein",
        "non",
        "keine",
    }


def names_rejects(name: str) -> bool:
    """Return whether the name of a sheet or file says that it lists the cards that failed."""
    return says_failed(re.sub(r"(?<=[a-z])(?=[A-Z])|[_0-9]+", " ", name))
