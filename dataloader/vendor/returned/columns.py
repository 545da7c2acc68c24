"""Recognize the columns of a returned file by their titles, wherever they are and however they are named."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from shlex import quote
from typing import Any

from dataloader.common import did_you_mean, listed, short
from dataloader.vendor.chip_uid import plain_text
from dataloader.vendor.returned.grid import letters
from dataloader.vendor.returned.words import readable, without_accents, words

MAX_HEAD = 20
"""Rows in which to look for the titles; vendors put headings above them."""
KEYS = ("number", "uuid", "check", "snapset", "chip", "result", "note")
"""The columns to read of a row, in this order."""

_TITLES: Mapping[str, tuple[str, ...]] = {
    "number": ("card number",),
    "uuid": ("uuid",),
    "check": ("check",),
    "snapset": ("snapset",),
    "chip": ("chip uid",),
    "result": ("result",),
    "note": ("note",),
}
"""The titles in our own workbooks. A column with one of these is preferred to any other."""
_PHRASES: Mapping[str, tuple[str, ...]] = {
    "number": (
        "kartnummer", "kortnr", "kart numarasi", "kart no", "numer karty", "nr karty", "cislo karty", "kortin numero",
        "kartyaszam", "номер карты", "номер карти", "رقم البطاقة",
        "מספר כרטיס", "卡号", "卡號", "カート番号", "카드 번호",
    ),
    "check": (
        "check value", "check code", "checksum", "check sum", "control value", "pruefwert", "prufwert", "prufsumme",
        "prufziffer", "kontrollwert", "valeur de controle", "somme de controle", "valor de control", "controlewaarde",
        "valore di controllo", "valor de controle", "kontrollvarde", "kontrolværdi", "kontrollverdi", "kontrol degeri",
        "wartosc kontrolna", "kontrolni hodnota", "tarkistusarvo", "ellenorzo ertek", "контрольное значение", "校验",
        "チェック",
    ),
    "snapset": ("snap set", "preference set", "preset"),
    "chip": ("uid", "nfc", "rfid", "nfc id", "rfid number", "csn", "epc tid", "芯片uid", "チッフuid", "معرف الشريحة",
             "מזהה שבב"),
    "result": (
        "result", "status", "state", "outcome", "ergebni", "ergebnisse", "resultat",
        "resultate", "resultaten", "befund", "zustand", "etat", "statut",
        "resultado", "estado", "resultaat", "uitslag", "toestand", "risultato", "esito", "stato", "wynik", "vysledek",
        "tulo", "verdict", "encoded", "encoding", "written", "programmed", "kodiert", "codiert", "beschrieben",
        "sonuc", "результат", "результаты", "结果", "結果", "결과", "αποτελεσμα", "rezultat", "النتيجة", "תוצאה",
        "kontrolle", "prufergebni",
        "good", "readable", "verified", "works", "work", "working", "valid", "gut", "lesbar", "write ok", "is ok",
        "encode", "codificado", "codificada", "grabado", "gecodeerd", "pas fail", "pass fail", "ok", "ok nok",
        "eredmeny", "ok failed", "success", "successful", "erfolg", "erfolgreich", "exito", "succe", "passed",
    ),
    "note": (
        "note", "remark", "comment", "bemerkung", "bemerkungen", "anmerkung", "anmerkungen", "notiz", "notizen",
        "kommentar", "kommentare", "hinwei", "hinweise", "remarque", "opmerkingen",
        "commentaire", "observation", "nota", "comentario", "observacion", "observacione", "observacoe",
        "opmerking", "annotation",
        "anmarkning", "bemærkning", "merknad", "poznamka", "huomautus", "megjegyze", "aciklama", "not", "примечание",
        "примітка", "ملاحظة", "הערה",
        "комментарии", "备注", "備註", "備考", "비고",
        "reason", "grund", "raison", "motif", "motivo", "razon", "reden", "causa", "osservazione", "uwagi",
    ),
}  # fmt: skip
"""More titles, as normalized by :func:`_words`: without case, accents, plurals and text in brackets."""
_CARD = words("card karte karten carte tarjeta kaart kaarten tessera scheda cartao karta badge kort")
_NUMBER = words("number no nr num nummer numero n")
_CHIP = words(
    "chip tag nfc rfid transponder puce etiqueta etiquette label inlay mifare ntag "
    "card karte karten carte tarjeta kaart cip chipa cipu siru sirun чип чипа метки brikke brikken τσιπ 칩"
)
_UID = words("uid uuid")
_UUID = words("uuid guid")
_CHOICES = words("ok nok pass fail failed spare or")
_HINTS = words("required optional msb byte 4 7 10 14 digit character")
"""How to fill in a column."""
_RESULT = words("result status ergebni resultat resultado resultaat risultato outcome statut")
_ABOUT_ENCODING = words(
    "encoding encode encoded of the write writing programming programmer vendor card chip tag nfc rfid final test qc "
    "kodierung codierung codier kodier der des die de la le du encodage codage codificacion coderen codering carte "
    "karte karten tarjeta schreib ecriture grabacion supplier kodierungs codierungs beim"
)
_STEPS = words(
    "encoding encode write writing programming verify verification readback test qc response return apdu sw "
    "kodierung codierung encodage codage codificacion coderen schreiben ecriture grabacion prufung"
)
"""What is done with each card, or what its chip answered."""
_FILLER = words("of the der des die das den dem de la le les el los du del della di da do van het een d l a")
_IGNORED = frozenset({"why", "chip to destroy", "start with"})
"""Columns of our own workbooks that say nothing about the encoding, as normalized by :func:`_words`."""
_UNNEEDED = frozenset(
    {
        "type", "content", "uri type", "description", "interaction counter", "uid mirror",
        "interaction counter mirror", "language code", "language", "encoding type", "text encoding", "charset",
        "read only", "locked", "lock", "lock status", "write protected", "protected", "password", "url", "uri",
        "link", "record type", "ndef", "ndef type", "ndef size", "ndef record", "payload", "chip type", "tag type",
        "ic type", "technology", "tech", "manufacturer", "maker", "hersteller", "memory", "memory size", "size",
        "capacity", "counter", "scan count", "read count", "label", "name", "title", "batch name", "tag name",
        "date", "time", "date time", "timestamp", "day", "datum", "zeit", "uhrzeit", "zeitstempel", "heure",
        "fecha", "hora", "data", "ora", "tijd", "encoded at", "encoded on", "written at", "encoding date",
        "encoding time", "operator", "user", "worker", "employee", "initial", "bediener", "operateur", "operador",
        "machine", "station", "reader", "printer", "encoder", "maschine", "lot", "lot number", "batch",
        "batch number", "charge", "lote", "order", "order number", "order no", "job", "po", "po number", "auftrag",
        "bestellung", "box", "box number", "box no", "carton", "karton", "tray", "reel", "roll", "rolle", "pallet",
        "palette", "bag", "position", "slot", "row", "line", "line number", "index", "seq", "sequence",
        "sequence number", "zeile", "ligne", "lfd nr", "item", "item number", "quantity", "qty", "menge", "anzahl",
        "weight", "price", "customer", "client", "kunde", "product", "article", "artikel", "sku", "part number",
        "model", "design", "artwork", "delivery", "shipment", "lieferung", "version", "attempt", "versuch",
        "versuche", "duration",
    }
)  # fmt: skip
"""Columns of encoding tools, orders, machines and parcels that say nothing about the encoding; their content is still
examined."""
_OURS = "Card number, UUID, Check, Snapset, Chip UID, Result, Note"
_SHOWN_TITLES = 12
_SHOWN_TITLE = 40
"""Characters."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ENUMERATED = re.compile(r"\A\s*(?:[0-9]{1,2}|[A-MO-Z])[.:)]\s+(?=\S)")
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_COUNT = re.compile(
    r"\b(number|no|nr|num|n[úu]mero|nombre|n°)\.? (of|de|di|von|der|van) (the |las |los |les )?"
    r"(cards|chips|tags|cartes|tarjetas|karten|kaarten|tessere|puces)\b",
    re.IGNORECASE,
)
"""A count, not the number of a card."""
_BETWEEN_TITLES = re.compile(r"\s{2,}|[^\w\s]+")
_MAX_TITLE = 200
_SPECIAL = re.compile(r'["$`\\!]')
"""What a shell does not take literally between double quotes."""
UUID_LIKE = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")


def plain(title: object) -> str:
    """Return a title in lower case with normalized spaces."""
    return " ".join(plain_text(str(title)).split()).casefold()


@lru_cache(4096)
def _words(title: str) -> tuple[str, ...]:
    """Return the words of a title: no case, accents, punctuation or plurals; ``ChipUID`` is two words."""
    text = _CAMEL.sub(" ", readable(title[:_MAX_TITLE])).replace("UUI Ds", "UUIDs").replace("UI Ds", "UIDs")
    # A raised digit refers to a footnote.
    text = re.sub(r"\^[0-9]", " ", without_accents(text))
    words = re.sub(r"[\W_]+", " ", text.replace("°", " ")).split()
    return tuple(_singular(word) for word in words)


def _singular(word: str) -> str:
    keep = ("us", "ss") if len(word) > 2 else ("s",)  # noqa: PLR2004 - "uids", but not "is"
    return word.removesuffix("s") if len(word) > 3 and not word.endswith(keep) else word  # noqa: PLR2004 - likewise


@lru_cache(4096)
def understand_title(title: str) -> tuple[str, bool] | None:
    """Return which column a title stands for, and whether it is exactly a title of our own workbook; or None.

    Longer titles are parsed word by word: ``UUID der Karte``, ``NFC tag UID (hex)``, ``Encoding result*``.
    The key is empty for a column that is known, but not needed.
    """
    if _COUNT.search(title[:_MAX_TITLE]):
        return None
    title = _ENUMERATED.sub("", title)
    for text in dict.fromkeys((title, _BRACKETS.sub(" ", title))):
        said = _words(text)
        if not said:
            continue
        for key, titles in _TITLES.items():
            if " ".join(said) in titles or "".join(said) in {each.replace(" ", "") for each in titles}:
                return key, True
        if " ".join(said) in _IGNORED:
            return "", True
        if " ".join(said) in _UNNEEDED:
            return "", False
        if found := _by_words(said):
            return found, False
    # "Note / Bemerkung"
    means = [understand_title(part) for part in title.split("/")] if "/" in title else []
    keys = {each and each[0] for each in means}
    only = keys.pop() if len(keys) == 1 else None
    return None if only is None else (only, False)


@lru_cache(4096)
def mentions_result(title: str) -> bool:
    """Return whether a word in a title means results, or all are about a step: ``Status code``, ``Verify``."""
    said = {each for each in _words(title) if not each.isdecimal()}
    is_step = not _STEPS.isdisjoint(said) and said <= _STEPS | _ABOUT_ENCODING | {"code"}
    return is_step or not _RESULT.isdisjoint(said)


def _by_words(title: tuple[str, ...]) -> str:
    """Return the key that the words of a title stand for; empty if none."""
    told = tuple(word for word in title if word not in _FILLER) or title
    said = {" ".join(title), " ".join(told), "".join(title)}
    for key, phrases in _PHRASES.items():
        if said & {*phrases} or "".join(title) in {each.replace(" ", "") for each in phrases}:
            return key
    split = _split_compound(told)
    there = {*split}
    rest = there - _FILLER
    # Each key has required words, and words allowed next to them; the first match counts.
    rules = (
        ("chip", bool(there & _UID and there & (_CHIP - _CARD)), _UID | _CHIP | {"serial", "number", "hex", "id"}),
        ("uuid", bool(there & _UUID), _UUID | _CARD | {"user", "id", "gpii", "text", "ndef"}),
        ("chip", "uid" in there, _UID | _CHIP | _HINTS | {"hex", "serial", "number", "id", "nummer", "code"}),
        ("number", bool(there & _CARD and there & _NUMBER), _CARD | _NUMBER),
        ("result", bool(there & (_RESULT | {"ok"})), _RESULT | _ABOUT_ENCODING | _CHOICES),
    )
    return next((key for key, fits, allowed in rules if fits and rest <= allowed), "")


def _split_compound(words: Sequence[str]) -> list[str]:
    """Split compounds such as Kartennummer, Chipuid and Kodierergebnis into their words."""
    found: list[str] = []
    heads = sorted(_CARD | _CHIP | _ABOUT_ENCODING, key=len, reverse=True)
    tails = _NUMBER | _UID | _RESULT
    for word in words:
        pair = next(
            ((head, word[len(head) :].lstrip("s")) for head in heads if len(head) > 2 and word.startswith(head)  # noqa: PLR2004 - "de" is no head
             and word[len(head) :].lstrip("s") in tails - {"n", "no"}),
            None,
        )  # fmt: skip
        found += pair or (word,)
    return found


def is_title(cell: object) -> bool:
    """Return whether a cell is a known title, so that a row of such cells is a row of titles."""
    if not isinstance(cell, str) or not 0 < len(cell) <= _MAX_TITLE:
        return False
    return understand_title(cell) not in {None, ("", False)}


@dataclass(frozen=True, slots=True)
class Columns:
    """The positions of the columns of a table."""

    row: int
    """The row of the titles, from 0."""
    at: Mapping[str, int]
    """The column of each key that was found, from 0."""
    doubles: Mapping[str, tuple[str, ...]]
    """Keys that several columns could be, with the titles of these columns."""
    titles: tuple[str, ...]
    """The titles of all columns."""
    unread: Mapping[int, str]
    """The unrecognized columns, with their names in messages."""
    named: frozenset[str]
    """The keys whose columns the operator named, and that are here or said not to exist."""

    @property
    def indices(self) -> list[int]:
        """The columns in the order of :data:`KEYS`, -1 for missing ones."""
        return [self.at.get(key, -1) for key in KEYS]

    @property
    def rank(self) -> tuple[int, int]:
        """How well the row fits: by the columns that the operator named, then by all."""
        return len(self.named), len(self.at)

    @property
    def problem(self) -> tuple[str, str] | None:
        """Why the rows cannot be read, and what to do; None if they can."""
        if any(map(UUID_LIKE.search, self.titles)):
            rule = "has UUIDs beside the title of their column, as if rows and columns were swapped"
            return rule, "put each card into a row, below the titles (Paste Special > Transpose)"
        for key, titles in self.doubles.items():
            shown = listed([f"“{short(title, _SHOWN_TITLE)}”" for title in titles])
            if len({*map(plain, titles)}) == 1:
                return (
                    f"has {len(titles)} columns “{short(titles[0], _SHOWN_TITLE)}”",
                    "keep one of them; put tables that are side by side on separate sheets",
                )
            options = " or ".join(column_option(key, title) for title in titles)
            return f"more than one column could be the {key}: {shown}", f"name the right one: {options}"
        return None


def find_columns(
    rows: Sequence[Sequence[Any]], named: Mapping[str, str], uuid_titles: Sequence[str] = ()
) -> Columns | None:
    """Find the titles in the first rows of a sheet.

    Args:
        rows: the first rows.
        named: titles by key, as named by the operator; an empty title means that there is no such column. A title that
            is in none of the rows may be in another table.
        uuid_titles: more titles of the UUID column, for files with none of the usual ones.

    Returns:
        The columns, or None if no row has a title for the UUIDs.
    """
    best: Columns | None = None
    for row, cells in enumerate(rows[:MAX_HEAD]):
        found = _columns(row, [str(cell) for cell in cells], named, uuid_titles)
        # A heading above the titles may contain one of their words.
        if "uuid" in found.at and (best is None or found.rank > best.rank):
            best = found
    return best


def _columns(row: int, titles: list[str], named: Mapping[str, str], uuid_titles: Sequence[str]) -> Columns:
    at: dict[str, int] = {}
    doubles: dict[str, tuple[str, ...]] = {}
    there = {*map(plain, titles)}
    named = {key: title for key, title in named.items() if not title or plain(title) in there}
    # A column named for one key is not used for another, whatever its title suggests.
    taken = {plain(title) for title in named.values()} - {""}
    means = [understand_title(title) if plain(title) not in taken else None for title in titles]
    for key in KEYS:
        if key in named:
            columns = [at for at, title in enumerate(titles) if named[key] and plain(title) == plain(named[key])]
        else:
            columns = [at for at, found in enumerate(means) if found == (key, True)]
            columns = columns or [at for at, found in enumerate(means) if found == (key, False)]
            # "Text" may be a cell of a card.
            if key == "uuid" and not columns and not any(map(UUID_LIKE.search, titles)):
                others = {plain(title) for title in uuid_titles} - taken
                columns = [at for at, title in enumerate(titles) if plain(title) in others]
        if columns:
            at[key] = columns[0]
        if len(columns) > 1:
            doubles[key] = tuple(titles[column] for column in columns)
    read = {*at.values()} | {column for column, found in enumerate(means) if found == ("", True)}
    unread = {
        column: f"“{short(title, _SHOWN_TITLE)}”" if title.strip() else f"column {letters(column)} (no title)"
        for column, title in enumerate(titles)
        if column not in read and not (title and plain(title) in {plain(each) for each in uuid_titles})
    }
    return Columns(row, at, doubles, tuple(titles), unread, frozenset(named))


def column_option(key: str, title: str) -> str:
    """Return the option that names a column, as it is typed in a shell."""
    text = short(plain_text(title), _MAX_TITLE)
    return f"--column {quote(f'{key}={text}')}" if _SPECIAL.search(text) else f'--column {key}="{text}"'


def nothing_found(rows: Sequence[Sequence[Any]], named: Mapping[str, str]) -> tuple[str, str]:
    """Return the error for a file without titles, and what to do.

    It suggests titles similar to the expected ones, and that of a column that contains UUIDs.
    """
    fullest = max(rows[:MAX_HEAD], key=lambda cells: sum(1 for cell in cells if plain(cell)), default=())
    titles = list(filter(None, titles_of(fullest)))
    full = [str(cell) for cell in fullest if plain(cell)]
    missing = _missing_titles(fullest, named)
    found = f"; found: {', '.join(titles[:_SHOWN_TITLES])}" if titles else ""
    shown = listed([f"“{short(title, _SHOWN_TITLE)}”" for title in dict.fromkeys(missing.values())])
    rule = f"no column {shown} in its first {MAX_HEAD} rows{found}"
    near = (
        did_you_mean(title, full, lambda other, key=key: column_option(key, other))  # type: ignore[misc]
        for key, title in missing.items()
    )
    nearest = next(filter(None, near), "")
    if "uuid" not in missing:
        return rule, nearest or "copy the title from the file"
    first = next((str(cell) for cell in fullest if plain(cell)), "")
    if len(titles) == 1 and any(map(_is_uuid_title, _BETWEEN_TITLES.split(first[:_MAX_TITLE]))):
        return (
            f"has its titles in one cell ({titles[0]})",
            "separate the columns by commas, semicolons, tabs or bars; in a workbook, by Data > Text to Columns",
        )
    if any(UUID_LIKE.search(str(cell)) for row in rows[:1] for cell in row):
        return "has UUIDs, but no titles above them", f"add a line with the titles of its columns: {_OURS}"
    texts = [[str(cell).strip() for cell in row] for row in rows[:MAX_HEAD]]
    holds = next((at for row in texts for at, cell in enumerate(row) if UUID_LIKE.fullmatch(cell)), len(fullest))
    if holds < len(fullest) and plain(fullest[holds]) and not UUID_LIKE.search(str(fullest[holds])):
        this = column_option("uuid", str(fullest[holds]))
        differ = "; if the files differ, rename their titles" if named.get("uuid") else ""
        return rule, f"the UUIDs may be below “{titles_of(fullest)[holds]}”: {this}{differ}"
    has_any = any(map(UUID_LIKE.search, chain.from_iterable(texts)))
    general = 'name the columns, for example --column uuid="Tag ID"' if has_any else "ask for a file with the UUIDs"
    return rule, nearest or general


def _is_uuid_title(title: str) -> bool:
    return understand_title(title) in {("uuid", True), ("uuid", False)}


def _missing_titles(cells: Sequence[Any], named: Mapping[str, str]) -> dict[str, str]:
    """Return the titles that a row lacks, by key; all of them if it lacks none, since they are not in one row."""
    there = {plain(cell) for cell in cells}
    wanted = {"uuid": "UUID", **{key: title for key, title in named.items() if title}}
    has_uuid = "uuid" not in named and any(_is_uuid_title(str(cell)) for cell in cells)
    missing = {
        key: title for key, title in wanted.items() if plain(title) not in there and not (key == "uuid" and has_uuid)
    }
    return missing or wanted


def titles_of(cells: Sequence[Any]) -> list[str]:
    """Return the cells of a row of titles for a message."""
    return [short(str(cell).strip(), _SHOWN_TITLE) for cell in cells]


def suggest_title(title: str) -> str:
    """Return a question that suggests one of our titles for a similar one; empty if none is similar, or it is known."""
    if understand_title(title):
        return ""
    ours = {each.capitalize().replace("Uuid", "UUID").replace(" uid", " UID") for each in chain(*_TITLES.values())}
    return did_you_mean(title, ours, cutoff=0.7)
