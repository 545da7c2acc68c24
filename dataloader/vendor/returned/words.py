"""The words by which vendors say that a card is encoded, or that it is not, in several languages."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from html import unescape
from unicodedata import category, combining, normalize

from dataloader.vendor.chip_uid import plain_text


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_BAD = words(  # English, German, French, Spanish, Portuguese, Italian, Dutch; then some words of other languages.
    "fail failed fails failure failures failing error errors err nok ng reject rejected rejects rejection defect "
    "defective defects broken scrap scrapped void voided damaged destroyed unreadable unusable faulty bad dead missing "
    "unencoded blank timeout aborted cancelled canceled invalid wrong misprint misprints ko bust waste wasted trash "
    "destroy discard discarded rework reworked redo retry reencode quarantine quarantined pending skipped incomplete "
    "withdrawn unusable unwritten withheld "
    "fehler fehlerhaft fehlgeschlagen defekt defekte kaputt ausschuss nio unlesbar zerstort zerstoren beschadigt "
    "ungultig schlecht makulatur nacharbeit vernichten vernichtet gesperrt abfall fehldruck sperrbestand "
    "echec echecs echoue echouee erreur erreurs defectueux defectueuse rebut rebuts rejete rejetee rejets illisible "
    "endommage detruire "
    "fallo fallos fallido fallida fallada fallado defectuoso defectuosa rechazado rechazada rechazados rechazadas "
    "averiado danado ilegible destruir "
    "falha falhas falhou erro erros defeituoso rejeitado rejeitados errore errori fallito fallita difettoso scarto "
    "scarti scartato guasto mislukt fout fouten afgekeurd afgekeurde onleesbaar beschadigd kapot uitval "
    "kasseret kasserade underkand underkanda fejl fel feil defekter odottaa hylatty hylatyt virhe viallinen "
    "zly bledny blad brak odrzucone odrzucony wadliwy chyba vadny zmetek spatne hibas selejt "
    "hatali basarisiz bozuk брак ошибка сбои негоден негодные плохои дефект помилка неуспешно αποτυχια σφαλμα "
    "失败 失敗 不良 不合格 错误 錯誤 エラー 실패 불량 오류"
)
_SPACELESS = re.compile("失败|失敗|不良|不合格|错误|錯誤|エラー|실패|불량|오류")
"""Words of languages without spaces between words."""
_CROSSES = re.compile(
    "[\N{MULTIPLICATION SIGN}\N{MULTIPLICATION X}\N{HEAVY MULTIPLICATION X}\N{BALLOT X}"
    "\N{HEAVY BALLOT X}\N{CROSS MARK}\N{BALLOT BOX WITH X}\N{NO ENTRY SIGN}\N{THUMBS DOWN SIGN}]"
)
_CHECKS = (
    "\N{CHECK MARK}\N{HEAVY CHECK MARK}\N{WHITE HEAVY CHECK MARK}\N{BALLOT BOX WITH CHECK}\N{THUMBS UP SIGN}"
    "\N{DEGREE SIGN}\N{COPYRIGHT SIGN}\N{REGISTERED SIGN}"
)
_GOOD = words(
    "ok okay pass passed success successful succeeded done good encoded written programmed verified valid io "
    "erfolgreich erfolg gut kodiert codiert beschrieben reussi reussie bon encode correcto correcta exito exitoso "
    "codificado codificada bien gelukt goed gecodeerd geslaagd riuscito sucesso green grun works working readable "
    "lesbar godkendt godkand hyvaksytty dobry basarili годен успешно 成功 良 良品 合格 양호"
)
_ANSWERS = words("yes no y n true false ja nein oui non si nee sim nao")
"""Results only if nothing else has results: many columns contain these."""
_DENIALS = words("no n 0 false nein non nee nao f ne nie nej ei")
_NONE = words("no none not without 0 kein keine ohne sans aucun aucune sin ningun ninguna geen zonder senza")
_NOT = words("not never non nicht niet nie no pas sin un didnt wasnt isnt couldnt cannot cant")
_DONE = words(
    "encoded encode coded written write programmed program used use ok done good working work works readable read "
    "usable initialised initialized personalised personalized deliver delivered ship shipped verify verified "
    "check checked test tested validate validated confirmed gepruft getestet verifie teste verificado probado getest "
    "kodiert codiert beschrieben verwenden lesbar ok "
    "encode encodee encodage programme ecrite ecrit lisible utiliser "
    "codificado codificada grabado grabada usar legible gecodeerd leesbaar gebruiken codificata scritto"
)
_ABOUT = words("the this card chip tag karte puce is was")
_TESTED = words(
    "tested test read back on in and with und et y e getestet gepruft teste verifie probado getest am pm utc gmt uhr"
)
"""Words of notes that say nothing bad."""
REASONS = words("reason grund raison motif motivo razon reden causa")
_AMOUNTS = words("quantity qty amount pcs pieces menge anzahl stuck quantite cantidad quantita quantidade aantal")
_SET_ASIDE = words(
    "returns rma spoils spoiled spoilt spoilage mangel mangelhaft mangelhafte aussortiert aussortierte retoure "
    "retouren rucklaufer verloren ersetzt doppelte retours perdus perdues remplaces remplacees refaire devoluciones "
    "devueltas perdidas devolucoes devolvidos resi retourzendingen retourkaarten lost replaced duplicates"
)
"""Names of sheets and files of cards that were set aside. As notes, some of them mean nothing."""
_NEUTRAL = words(
    "sheet sheets tabelle blatt feuil feuille hoja foglio blad planilha arkusz list table page seite part teil partie "
    "parte deel no nr of von de and und et y e en the a b c d cards card karten karte cartes carte tarjetas tarjeta "
    "kaarten kaart chips chip tags tag uid uids nfc rfid box boxes carton cartons karton kiste schachtel boite caja "
    "doos tray reel roll rolle bobine pallet palette bag pack packet lot lots batch charge order auftrag commande "
    "pedido job delivery lieferung livraison entrega levering shipment sendung run production produktion line linie "
    "station machine maschine printer encoder reader data daten export report liste lista log file datei final done "
    "good ok encoded kodiert codiert encodees codificadas gecodeerd written returned copy kopie "
    "total totals grand sum summe gesamt somme totale suma totaal"
)
"""Words in the names of sheets and files that do not sort cards."""
_MARKS = frozenset("*?\N{DAGGER}\N{DOUBLE DAGGER}\N{SECTION SIGN}")
_CODES = re.compile(
    r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\b(?:[0-9a-f]{2}[: -]?){3,9}[0-9a-f]{2}\b"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?",
    re.IGNORECASE,
)
"""UUIDs, chip UIDs, and dates with a time."""
_MISREAD = ("cp1252", "latin-1", "mac_roman")
"""Encodings as which UTF-8 is read by mistake."""
_LOST = re.compile(r"[^\W\d_]*(?:[?\N{REPLACEMENT CHARACTER}]+[^\W\d_]+)+|[^\W\d_]+\N{REPLACEMENT CHARACTER}+")
"""Words with characters that a program replaced because it did not know them."""
_SPLIT = re.compile(r"[\W_]+")
_LETTERS = str.maketrans(
    {
        "\N{LATIN SMALL LETTER L WITH STROKE}": "l",
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)
"""Letters that Unicode does not decompose into a letter and an accent."""
_MAX = 2_000
"""The most characters of a cell to examine."""


def readable(text: str) -> str:
    """Return a text without invisible characters and HTML; UTF-8 that was read in another encoding is corrected.

    Examples are ``&eacute;chec`` and ``Ã©chec``.
    """
    text = unescape(text)
    if text.isascii():
        return text
    for encoding in _MISREAD:
        # Real text in these encodings is hardly ever valid UTF-8.
        with suppress(UnicodeError):
            return plain_text(text.encode(encoding).decode())
    return plain_text(text)


def _restored(word: re.Match[str]) -> str:
    """Return the word of this module that a word with lost characters may be, if any."""
    form = re.compile(re.sub(r"[?\N{REPLACEMENT CHARACTER}]", ".", word[0]))
    return next((each for each in sorted(_BAD | _DONE) if form.fullmatch(each)), word[0])


@lru_cache(8192)
def _tokens(text: str) -> tuple[str, ...]:
    text = normalize("NFKD", readable(text[:_MAX]).replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    plain = "".join(each for each in text if not combining(each)).casefold().translate(_LETTERS)
    plain = _LOST.sub(_restored, plain)
    plain = re.sub(r"\bre-(?=encod|writ|do|work|try)", "re", plain)
    plain = _SPACELESS.sub(r" \g<0> ", _CROSSES.sub(" ko ", plain))
    # "n.i.O." and "i.O.": German for not in order and in order.
    plain = re.sub(r"\bn\s*\.?\s*i\s*\.\s*o\b", " nio ", plain)
    return tuple(filter(None, _SPLIT.split(re.sub(r"\bi\s*\.\s*o\b", " io ", plain))))


def says_failed(text: str) -> bool:
    """Return whether a text says that something failed; ``no error`` does not."""
    tokens = _tokens(text)
    if says_not_encoded(text):
        return True
    bad = [at for at, token in enumerate(tokens) if token in _BAD]
    return any(not at or tokens[at - 1] not in _NONE for at in bad)


def says_not_encoded(text: str) -> bool:
    """Return whether a text says that a card is not encoded, or must not be used: ``NOT ENCODED``."""
    tokens = _tokens(text)
    return "unencoded" in tokens or any(
        token in _NOT and {*tokens[at + 1 : at + 4]} & _DONE for at, token in enumerate(tokens)
    )


def is_failure(text: str) -> bool:
    """Return whether a text is by itself a result that means failed: ``KO``, ``chip defective``."""
    tokens = {*_tokens(text)}
    return bool(tokens & _BAD) and tokens <= _BAD | _ABOUT


def says_result(text: str, *, answers: bool) -> bool:
    """Return whether a whole text is a result such as ``ok`` or ``passed``.

    Args:
        text: the text of a cell.
        answers: whether ``yes`` and ``no`` count, too.
    """
    tokens = {*_tokens(text)}
    return bool(tokens) and (tokens <= _GOOD or (answers and tokens <= _GOOD | _ANSWERS))


def is_remark(note: str) -> bool:
    """Return whether a note has marks, codes or words other than ``ok``, ``tested``, ``no errors`` and the like."""
    harmless = _GOOD | _TESTED | (frozenset() if says_failed(note) else _NONE | _BAD)
    # A mark may refer to a legend.
    is_marked = any(each in _MARKS or (category(each) == "So" and each not in _CHECKS) for each in note)
    tokens = _tokens(_CODES.sub(" ", note))
    return is_marked or not all(token in harmless or token.isdecimal() for token in tokens)


def says_no(text: str) -> bool:
    """Return whether a whole text is a negative answer: ``no``, ``false``, ``0``."""
    return {*_tokens(text)} <= _DENIALS


def says_good(title: str) -> bool:
    """Return whether a title is a question for which ``no`` means a failure: ``Readable``."""
    return not {*_tokens(title)}.isdisjoint(_GOOD)


def asks_amount(title: str) -> bool:
    """Return whether a title asks how many there are, so that 0 means that a card was not delivered: ``Quantity``."""
    return not {*_tokens(title)}.isdisjoint(_AMOUNTS)


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


def _of_name(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_0-9]+", " ", name)


def names_rejects(name: str) -> bool:
    """Return whether the name of a sheet or file says that it lists failed cards, or cards that were set aside."""
    name = _of_name(name)
    return says_failed(name) or not _SET_ASIDE.isdisjoint(_tokens(name))


def is_neutral(name: str, known: Iterable[str] = ()) -> bool:
    """Return whether a name or heading has only words that do not sort cards: ``Box 2``."""
    return not _sorting(name, known)


def may_sort(names: Sequence[str], known: Iterable[str] = ()) -> bool:
    """Return whether the names of several sheets or files may sort cards, into good and bad ones for example.

    They do not if they differ only in numbers and in words such as ``box``, or those that are known.
    """
    return len({_sorting(name, known) for name in names}) > 1


def _sorting(name: str, known: Iterable[str]) -> frozenset[str]:
    harmless = _NEUTRAL.union(*(_tokens(_of_name(each)) for each in known))
    return frozenset(_tokens(_of_name(name))) - harmless
