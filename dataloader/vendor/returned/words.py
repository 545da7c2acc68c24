"""The words by which vendors say that a card is encoded, or that it is not, in several languages."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from html import unescape
from itertools import chain, groupby, pairwise, takewhile
from unicodedata import category, combining, normalize

from dataloader.vendor.chip_uid import plain_text


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_BAD = words(  # English, German, French, Spanish, Portuguese, Italian, Dutch; then some words of other languages.
    "fail failed fails failure failures failing error errors err nok ng reject rejected rejects rejection defect "
    "defective defects broken scrap scrapped void voided damaged destroyed unreadable unusable faulty bad dead "
    "missing unencoded blank timeout aborted cancelled canceled invalid wrong misprint misprints ko bust waste wasted "
    "trash destroy discard discarded rework reworked redo retry reencode quarantine quarantined pending skipped "
    "incomplete withdrawn unwritten withheld fehler fehlerhaft fehlgeschlagen defekt defekte kaputt ausschuss nio "
    "unlesbar zerstort zerstoren beschadigt ungultig schlecht makulatur nacharbeit vernichten vernichtet gesperrt "
    "abfall fehldruck sperrbestand echec echecs echoue echouee erreur erreurs defectueux defectueuse rebut rebuts "
    "rejete rejetee rejets illisible endommage detruire errores fallo fallos fallido fallida fallada fallado "
    "defectuoso defectuosa rechazado rechazada rechazados rechazadas averiado danado ilegible destruir falha falhas "
    "falhou erro erros defeituoso rejeitado rejeitados errore errori fallito fallita difettoso scarto scarti scartato "
    "guasto mislukt fout fouten afgekeurd afgekeurde onleesbaar beschadigd kapot uitval kasseret kasserade underkand "
    "underkanda fejl fel feil defekter odottaa hylatty hylatyt virhe viallinen zly bledny blad brak odrzucone "
    "odrzucony wadliwy chyba vadny zmetek spatne hibas selejt hatali basarisiz bozuk брак ошибка сбои негоден "
    "негодные плохои дефект помилка неуспешно αποτυχια σφαλμα exception exceptions issues malfunction corrupt "
    "corrupted mismatch unbrauchbar fehlerhafte fehlerhaften defekten ausgefallen ausfall nichtig storniert ungueltig "
    "beschaedigt zerstoert invalide casse cassee abime abimee reprovado reprovada quebrado danificado danificada "
    "invalido invalida rotto difettosa annullato ongeldig defecte mislukte misslyckades misslyckad misslyckats "
    "felaktig trasig skadad mislykkedes mislykket mislyktes fejlet fejlede feilet feilede odelagt defekta skadet "
    "kassert vraket epaonnistui virheellinen rikki hylsy viga vigane ebaonnestus kluda neizdevas bojats klaida "
    "nepavyko brokuotas sugadintas niepowodzenie nieudane nieudany nieudana uszkodzona uszkodzony bledna bledne "
    "awaria odrzucona odrzucono wadliwa wadliwe selhalo selhal selhani nefunguje nefunkcni neuspesne neuspesny "
    "poskozeny chybny chybna zlyhalo zlyhanie poskodeny sikertelen hiba rossz selejtes esuat esuata eroare erori "
    "respins respinsa defecta neuspjesno neuspesno greska pogreska pokvaren odbijeno napaka hata gecersiz arizali "
    "hasarli iptal reddedildi gagal rusak cacat ditolak απετυχε ελαττωματικο грешка неуспешен неудача неудачно отказ "
    "отклонено бракованныи испорчен поврежден повреждена неисправен неисправна пошкоджена فشل خطا تالف معيب مرفوض "
    "נכשל נכשלה שגיאה פגום פגומה תקול נפסל abnormal unsuccessful unverified unprogrammed nonfunctional funktionslos "
    "schreibfehler lesefehler unleserlich verworfen durchgefallen zuruckgestellt falschdruck refuse refusee danada "
    "danadas danados averiada rechazo defeito illeggibile scartata scartate errata bocciata kasserad ilizibil nereusit "
    "nereusita necodat niezakodowana nieczytelna nieczytelny vadna vadne necitelna necitelny nezakodovano nezapsano "
    "nezakodovane necitatelna necitatelny дефектна дефектен повредена отклонена отклонено "
    "непригоден непригодна пошкоджена "
    "ελαττωματικη ακυρη kodlanmadi okunamiyor calismiyor yazilamadi تالفة معيبة خراب ناموفق תקולה kodeerimata "
    "neuzkoduota neveikia sugadinta nedarbojas ostecen ostecena poskodovana rosak"
)
_SPACELESS = re.compile(
    "未通过|未通過|未达标|未编码|未編碼|未写入|未寫入|"
    "无法读取|無法讀取|不成功|没有成功|沒有成功|"
    "废卡|廢卡|未書込|書き込めない|読めない|미기록|안 ?됨|"
    "(?<![无無没沒])(?<!没有)(?<!沒有)(?:失败|失敗|不良|不合格|错误|錯誤|异常|異常|报废|報廢|作废|作廢|损坏|損壞|无效|無效|故障|破損|不可|エラー)"
    "(?!な?し|無し)|(?:실패|불량|오류|결함|불가)(?! ?없)|"
    "ลมเหลว|विफल|असफल|ไมผาน|ขอผดพลาด|that bai|khong (?:dat|ma hoa|doc duoc)"
    r"|\b(?:hors service|ausser betrieb|out of order|fuera de servicio|fuori servizio|buiten werking)\b"
)
"""Words of languages without spaces between words, or with letters that are removed with the accents; phrases."""
_EXCEPT = words(
    "except excepting excluding ausser ausgenommen sauf hormis excepto salvo exceto eccetto tranne behalve undtagen "
    "utom oprocz krome кроме"
)
"""Words before the cards that failed: ``no failures except card 3``."""
_CROSSES = re.compile(
    "[\N{MULTIPLICATION SIGN}\N{MULTIPLICATION X}\N{HEAVY MULTIPLICATION X}\N{BALLOT X}"
    "\N{HEAVY BALLOT X}\N{CROSS MARK}\N{BALLOT BOX WITH X}\N{NO ENTRY SIGN}\N{THUMBS DOWN SIGN}]+"
)
_TICKS = frozenset(
    "\N{CHECK MARK}\N{HEAVY CHECK MARK}\N{WHITE HEAVY CHECK MARK}\N{BALLOT BOX WITH CHECK}\N{LIGHT CHECK MARK}"
    "\N{BALLOT BOX WITH BOLD CHECK}\N{SQUARE ROOT}\N{THUMBS UP SIGN}"
)
"""Marks that mean ok; the square root is used in China."""
_CHECKS = _TICKS | {"\N{DEGREE SIGN}", "\N{COPYRIGHT SIGN}", "\N{REGISTERED SIGN}"}
_GOOD = words(
    "ok okay pass passed success successful succeeded done good encoded written programmed verified valid io "
    "erfolgreich erfolg gut kodiert codiert beschrieben reussi reussie bon encode correcto correcta exito exitoso "
    "codificado codificada bien gelukt goed gecodeerd geslaagd riuscito sucesso green grun works working readable "
    "lesbar godkendt godkand hyvaksytty dobry basarili годен успешно 成功 良 良品 合格 양호 lisible legible leesbaar "
    "leggibile"
)
_ANSWERS = words(
    "yes no y n true false ja nein oui non si nee sim nao wahr falsch vrai faux verdadero verdadeiro vero falso waar "
    "onwaar dogru yanlis prawda falsz истина ложь pravda nepravda igaz hamis tosi epatosi sant falskt sand falsk sann "
    "usann adevarat fals αληθεσ ψευδεσ tak nie ano ne igen nem kylla ei evet hayir да нет はい いいえ 是 否 예 아니오"
)
"""Results only if nothing else has results: many columns contain these."""
_DENIALS = words(
    "no n 0 false nein non nee nao f ne nie nej ei falsch faux falso onwaar yanlis falsz ложь nepravda hamis epatosi "
    "falskt falsk usann fals ψευδεσ нет nem hayir いいえ 否 아니오"
)
_NOTHING = words("0 no none na nan null nil false n nee nein non nao ne nie nej ei keine") | {"n a"}
_NONE = words(
    "no none not without 0 kein keine ohne sans aucun aucune sin ningun ninguna geen zonder senza nessun nessuna "
    "nenhum nenhuma ingen inget inga keiner keinen niente nada "
    "nothing zero nil null nul nichts rien niets ninguno nessuno never "
    "utan uden uten ilman bez без yok"
)
_NOT = words(
    "not never non nicht niet nie no pas sin didnt wasnt isnt couldnt cannot cant doesnt dont hasnt havent arent wont "
    "werent ne nao ikke ikkje inte ei не нет δεν nie nije ni nav ej tidak لا غير לא"
)
_DONE = words(
    "encoded encode coded written write programmed program used use ok done good working work works readable read "
    "usable initialised initialized personalised personalized deliver delivered ship shipped verify verified check "
    "checked test tested validate validated confirmed gepruft getestet verifie teste verificado probado getest "
    "kodiert codiert beschrieben verwenden lesbar encodee encodage programme ecrite ecrit lisible utiliser codificado "
    "codificada grabado grabada usar legible gecodeerd leesbaar gebruiken codificata scritto function functioning "
    "respond responding response detected recognized recognised encodable writable kodierbar codierbar auslesbar "
    "beschreibbar erkannt reussi reussie valide valido valida riuscito riuscita funciona funziona marche fonctionne "
    "zapisano zakodowano zapsano skrevet kodet kodad skriven funkar virker fungerar fungerer записано записана "
    "закодировано закодирована читается accepted approved compliant bestanden konform conform conforme goedgekeurd "
    "approuve aprobado aprovado ordnung orde ordine "
    "написана работает работи працює читається закодовано кодирана кодировано λειτουργει "
    "κωδικοποιηθηκε تعمل مشفر עובד מקודד "
    "terkode terbaca berfungsi toota kodets kodirano radi deluje dziala functioneaza godkjent godkand kodad koodattu "
    "toimi luettavissa gravado gravada scritta geschreven leida leido lu lue grabar functie"
)
_VERBS = words("funktioniert funktionierte geht lauft reagiert antwortet werkt fungerar fungerer funkar virker funguje")
"""Words before a negation: ``funktioniert nicht``."""
_CARDS = words(
    "card cards chip chips tag tags karte karten carte cartes puce puces tarjeta tarjetas kaart kaarten carta tessera"
)
_FILLERS = _CARDS | words(
    "the a any of or nor and oder ou ni o were are have been wurden was is has had ist sind wurde war est sont ete fue "
    "single einzige einzelne enkele eine"
)
"""Words between a negation and a failure: ``no cards were rejected``."""
_LISTED = _FILLERS | _BAD
"""Words that may be in a list of failures."""
_OR = words("or nor oder ou ni o")
_CHOICE = words("spare result results")
_WARRANTY = words(
    "warranty guarantee guaranteed liability liable complaint complaints claims gewahrleistung garantie haftung "
    "reklamation reklamationen reclamation reclamations reclamacion reclamaciones garantia reclamo reclami garanzia "
    "klacht klachten garancia gwarancja reklamacje reklamace zaruka reklamationer reklamasjon garanti гарантия"
)
_PAST = words(
    "was were had could some several many few wurde wurden war waren konnte konnten einige mehrere manche viele etait "
    "etaient ont certaines certains plusieurs quelques fue fueron habia algunas algunos varias varios stato stata "
    "stati state alcune alcuni diverse foi foram algumas alguns enkele sommige zostalo zostaly kilka"
)
"""Words of a text about cards that did fail, unlike the terms of a contract."""
_TERM = re.compile(
    r"\b(?:within|innerhalb|innert|binnen|sous|dans|dentro|plazo de|entro|inom|inden)(?: \w+)? [0-9]+ [^\W\d_]+"
    r"|(?:<|\bmax)[^0-9\n]{0,40}[0-9]{1,6}(?:[.,][0-9]{1,6})?\s?%"
    r"|\b[0-9]+ (?:months|years|monaten?|jahren?|mois|ans|meses|anos|mesi|anni|maanden|jaar)\b",
    re.IGNORECASE,
)
"""A period or limit, as in the terms of a contract: ``within 14 days``, ``< 0.1 %``."""
_UNIT = r"(?:ms|msec|s|sec|min)"
_SETTING = re.compile(
    rf"\W*(?=[^:=\t]{{0,60}}(?:time|zeit|temps|tiempo|tempo|tijd))[^0-9:=\t]{{1,60}}"
    rf"(?:\({_UNIT}\)\s*[:=\t]\s*[0-9.,]{{1,9}}|[:=\t]\s*[0-9.,]{{1,9}}\s*{_UNIT})\W*\Z",
    re.IGNORECASE,
)
"""A text that is a duration with its name, which counts no cards: ``Timeout (ms): 300``."""
_LEGEND = re.compile(r"\A\W*(?:legende?|leyenda|legenda|key)\W+", re.IGNORECASE)
_AGAIN = words("again replaced replace encoded reencoded rewritten repeated ersetzt remplacees remplacee sostituite")
"""What is not done with ``none of the failed cards``."""
_CELL = "\t"
"""What is between the cells of a row of text."""
_ABOUT = words(
    "the this card chip tag karte puce is was write writing read reading encoding verification verify on arrival at qc "
    "during kodierung prufung inspection ecriture lecture escritura lectura scrittura lettura zapisu"
)
"""Words beside a failure that do not change what it means: ``write error``."""
_TESTED = words(
    "tested test read back on in and with und et y e getestet gepruft teste verifie probado getest am pm utc gmt uhr"
)
"""Words of notes that say nothing bad."""
_ERRORS = words(
    "error errors err exception exceptions fehler erreur erreurs errore errori fout fouten fejl fel "
    "virhe blad chyba hiba hata ошибка"
)
"""What a title asks for if ``ok`` below it means none."""
_LONG_ERRORS = tuple(word for word in _ERRORS if len(word) >= 5)  # noqa: PLR2004 - shorter ones begin other words
"""What compounds such as ``Fehlertext`` begin with."""
_FOUND = words("found detected occurred reported gefunden aufgetreten detecte detectee detectado")
"""What is done with no failures."""
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
    "good ok encoded kodiert codiert encodees codificadas gecodeerd written returned copy kopie total totals grand "
    "sum summe gesamt somme totale suma totaal row rows record records zeilen lignes filas rijen"
)
"""Words in the names of sheets and files that do not sort cards."""
_GRADES = words(
    "grade class bin category quality level rank choice klasse guteklasse gute kategorie qualitat sorte wahl ware "
    "classe categorie qualite choix clase categoria calidad scelta kwaliteit klass klasa luokka jakost"
)
"""Words that sort cards by the number or letter beside them."""
_SHEET_NAME = re.compile("Blad ?[0-9]*", re.IGNORECASE)
"""A sheet in Dutch and Swedish, but with accents an error in Polish."""
_MARKS = frozenset("*?\N{DAGGER}\N{DOUBLE DAGGER}\N{SECTION SIGN}")
_BLANKS = frozenset(
    "-.,:;_/\\ \"'()[]{}\N{EN DASH}\N{EM DASH}\N{HORIZONTAL ELLIPSIS}\N{NO-BREAK SPACE}"
    "\N{BALLOT BOX}\N{WHITE SQUARE}\N{WHITE LARGE SQUARE}"
)
"""What stands for an empty cell, or is a box without a tick."""
_INVISIBLE = frozenset({"Mn", "Cf", "Cc", "Zs"})
"""Categories of characters that add nothing to a mark, such as the one that shows it in colour."""
_CODES = re.compile(
    r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\b(?:[0-9a-f]{2}[: -]?){3,9}[0-9a-f]{2}\b"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?",
    re.IGNORECASE,
)
"""UUIDs, chip UIDs, and dates with a time."""
_MISREAD = ("cp1252", "latin-1", "mac_roman")
"""Encodings as which UTF-8 is read by mistake."""
_LOST = re.compile(
    r"[^\W\d_]{0,40}(?:[?\N{REPLACEMENT CHARACTER}]{1,40}[^\W\d_]+)+|[^\W\d_]{1,40}\N{REPLACEMENT CHARACTER}+"
)
"""Words with characters that a program replaced because it did not know them.

Without a limit, here and in other patterns, the time would grow with the square of a text's length or worse.
"""
_SPLIT = re.compile(r"[\W_]+")
_CLAUSE = re.compile(
    r"[,;]\s|[!\n]|(?<!\bno)(?<!\bnr)\.\s|\.\s(?![\s#]*[0-9])|\s[-\N{EN DASH}\N{EM DASH}]\s", re.IGNORECASE
)
"""What is between clauses: a negation ends with its clause. ``No. 3`` is a number."""
_DASH = re.compile(r":\s*[-\N{EN DASH}\N{EM DASH}]+\s*\Z")
_LETTERS = str.maketrans(
    {
        "\N{LATIN SMALL LETTER L WITH STROKE}": "l",
        "\N{LATIN SMALL LETTER D WITH STROKE}": "d",
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)
"""Letters that Unicode does not decompose into a letter and an accent."""
_SAME = str.maketrans(
    "\N{CYRILLIC SMALL LETTER O}\N{CYRILLIC SMALL LETTER KA}\N{GREEK SMALL LETTER OMICRON}\N{GREEK SMALL LETTER KAPPA}",
    "okok",
)
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


_BY_LENGTH = {
    length: [*words] for length, words in groupby(sorted(_BAD | _DONE, key=lambda word: (len(word), word)), len)
}


def _restored(word: re.Match[str]) -> str:
    """Return the word of this module that a word with lost characters may be, if any."""
    form = re.compile(re.sub(r"[?\N{REPLACEMENT CHARACTER}]", ".", word[0]))
    return next(filter(form.fullmatch, _BY_LENGTH.get(len(word[0]), ())), word[0])


def without_accents(text: str) -> str:
    """Return a text in lower case without accents."""
    letters = normalize("NFKD", text)
    # Korean syllables are composed again.
    return normalize("NFC", "".join(each for each in letters if not combining(each))).casefold().translate(_LETTERS)


@lru_cache(8192)
def _tokens(text: str) -> tuple[str, ...]:
    text = _DASH.sub(": none", readable(text[:_MAX]))
    plain = without_accents(text.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    plain = _LOST.sub(_restored, plain)
    plain = re.sub(r"\bun-(?=[a-z])", "not ", plain)
    plain = re.sub(r"\bre-(?=encod|writ|do|work|try)", "re", plain)
    plain = _SPACELESS.sub(" ko ", _CROSSES.sub(" ko ", plain))
    # "n.i.O." and "i.O.": German for not in order and in order.
    plain = re.sub(r"\bn\s*\.?\s*i\s*\.\s*o\b", " nio ", plain)
    return tuple(filter(None, _SPLIT.split(re.sub(r"\bi\s*\.\s*o\b", " io ", plain))))


def says_failed(text: str) -> bool:
    """Return whether a text says that something failed; ``no error`` and ``Rejected: none`` do not."""
    clauses = _clauses(text)
    return any(_denies(tokens) or not _EXCEPT.isdisjoint(tokens) for tokens in clauses) or any(
        token in _BAD and not _is_denied(tokens, at) for tokens in clauses for at, token in enumerate(tokens)
    )


def _clauses(text: str) -> list[tuple[str, ...]]:
    """Return the words of each clause, with :data:`_CELL` between cells."""
    # "Encoded: no, card: failed": a colon separates like a cell.
    text = _DASH.sub(": none", text[:_MAX]).replace(": ", f":{_CELL}")
    cells = ([(_CELL, *_tokens(cell)) for cell in clause.split(_CELL)] for clause in _CLAUSE.split(text))
    found = [tuple(chain.from_iterable(clause))[1:] for clause in cells]
    # "No failed, damaged or missing cards" is one clause.
    for at in range(len(found) - 1, 0, -1):
        is_list = not _OR.isdisjoint(found[at]) and {*found[at]} <= _LISTED
        if is_list and found[at - 1] and found[at - 1][-1] in _BAD:
            found[at - 1 : at + 1] = [(*found[at - 1], *found[at])]
    return found


def _is_denied(tokens: Sequence[str], at: int) -> bool:
    """Return whether a word for a failure is denied: ``no cards were rejected``, ``errors: none``, ``error-free``."""
    after = [token for token in tokens[at + 1 :] if token not in _FILLERS and token != _CELL]
    is_zero = after[:1] == ["0"] and not any(map(str.isdecimal, after[1:2]))
    if after and (is_zero or after[0] == "free" or {*after} <= _NONE or " ".join(after) in _NOTHING):
        return True
    if tokens[at + 1 : at + 2] and tokens[at + 1] in _CARDS and not _AGAIN.isdisjoint(after):
        return False
    first = at
    while first and tokens[first - 1] in _LISTED:
        first -= 1
    # "No. of rejects: 3" is a number.
    is_number = tokens[first] == "of" or bool(after and after[0].isdecimal())
    before = tokens[first - 1] if first else ""
    is_free = before == "free" and tokens[first] == "of"
    return is_free or (before in _NONE and not (is_number and before == "no"))


def reports_failure(text: str, *, on_card: bool = False) -> bool:
    """Return whether a text outside the rows says that cards failed.

    Terms such as ``Defective cards are replaced within 12 months`` are about any cards, ``Timeout: 300 ms`` is about a
    machine, and ``ok, failed or spare`` and ``failed = not readable`` only explain words. ``failed = red`` says
    something about these cards.

    Args:
        text: the text.
        on_card: whether it is a comment on a cell, so that it is not about any cards.
    """
    if not says_failed(text) or (_SETTING.match(text) and not on_card):
        return False
    rest = _TERM.sub(" ", text)
    if any(map(str.isdigit, rest)):
        return True
    tokens = {*_tokens(text)}
    # "Unreadable cards: warranty claim pending" lists some.
    label, colon, _ = rest.partition(":")
    is_about_these = on_card or not tokens.isdisjoint(_PAST) or (colon != "" and says_failed(label))
    is_term = not is_about_these and (rest != text or not tokens.isdisjoint(_WARRANTY))
    is_choice = tokens <= _GOOD | _BAD | _OR | _CHOICE and not (tokens.isdisjoint(_OR) and "/" not in text)
    return not (is_term or (is_choice and offers_choice(text)) or _is_legend(text))


def _is_legend(text: str) -> bool:
    """Return whether a text only explains words for results by others: ``ok = encoded, failed = not readable``."""
    parts = [part.split("=") for part in re.split(r"[,;]\s", _LEGEND.sub("", text))]
    return all(
        len(part) == 2 and is_result and (not is_bad or says_failed(part[1]))  # noqa: PLR2004 - a word and its meaning
        for part in parts
        for is_bad in [is_failure(part[0])]
        for is_result in [is_bad or says_result(part[0], answers=False) or {*_tokens(part[0])} <= _CHOICE]
    )


def says_not_encoded(text: str) -> bool:
    """Return whether a text says that a card is not encoded, or must not be used: ``NOT ENCODED``."""
    return any(_denies(tokens) for tokens in _clauses(text))


def has_negation(text: str) -> bool:
    """Return whether a text denies anything: ``do not revoke``."""
    return not _NOT.isdisjoint(_tokens(text))


def _denies(tokens: Sequence[str]) -> bool:
    """Return whether a clause denies that a card is encoded; ``no errors detected`` does not."""
    if "unencoded" in tokens or any(pair[0] in _VERBS and pair[1] in _NOT for pair in pairwise(tokens)):
        return True
    after = (tokens[at + 1 : at + 4] for at, token in enumerate(tokens) if token in _NOT)
    return any(not (_DONE | _GOOD).isdisjoint(takewhile(lambda token: token not in _BAD, words)) for words in after)


def is_failure(text: str) -> bool:
    """Return whether a text is by itself a result that means failed: ``KO``, ``chip defective``."""
    tokens = {*_tokens(text)}
    return bool(tokens & _BAD) and tokens <= _BAD | _ABOUT


def result_word(text: str) -> str:
    """Return a result in lower case, without a full stop; OK may be in Cyrillic or Greek letters."""
    return plain_text(text).casefold().removesuffix(".").translate(_SAME)


def says_result(text: str, *, answers: bool) -> bool:
    """Return whether a whole text is a result such as ``ok`` or ``passed``, or a tick.

    Args:
        text: the text of a cell.
        answers: whether ``yes`` and ``no`` count, too.
    """
    tokens = {*_tokens(text)}
    if not tokens:
        return set() < _marks(text) <= _TICKS
    return tokens <= _GOOD or (answers and tokens <= _GOOD | _ANSWERS)


def offers_choice(text: str) -> bool:
    """Return whether a text without digits names good and bad results, as a hint for the column: ``ok or failed``."""
    tokens = _tokens(text)
    return not (any(map(str.isdigit, text)) or _GOOD.isdisjoint(tokens) or _BAD.isdisjoint(tokens))


def is_remark(note: str) -> bool:
    """Return whether a note has marks, codes or words other than ``ok``, ``tested``, ``no errors`` and the like."""
    harmless = _GOOD | _TESTED | (frozenset() if says_failed(note) else _NONE | _BAD)
    # A mark may refer to a legend.
    is_marked = any(each in _MARKS or (category(each) == "So" and each not in _CHECKS) for each in note)
    # "!" or "<--"; a dash or dots only stand for nothing.
    is_marked = is_marked or not (any(map(str.isalnum, note)) or _marks(note) <= _BLANKS | _TICKS)
    tokens = _tokens(_CODES.sub(" ", note))
    is_harmless = says_nothing(note) or all(token in harmless or token.isdecimal() for token in tokens)
    return is_marked or not is_harmless


def says_no(text: str) -> bool:
    """Return whether a whole text is a negative answer: ``no``, ``0x00``, or ``false`` in some language."""
    if is_mark(text):
        return False
    return {*_tokens(text)} <= _DENIALS or not text.casefold().removeprefix("0x").strip("0")


def denies_failure(text: str, title: str) -> bool:
    """Return whether a text below a title such as ``Error`` means none: ``no``, ``no error``, and ``ok`` below errors.

    ``Destroyed: ok`` is none of them.
    """
    tokens = {*_tokens(text)}
    is_denied = tokens <= _BAD | _NONE | _FILLERS | _FOUND and not (tokens.isdisjoint(_BAD) or says_failed(text))
    # A tick says that there is one.
    is_none = bool(tokens) and says_result(text, answers=False) and not _ERRORS.isdisjoint(_tokens(title))
    # A single "F" may mean failed.
    return is_denied or is_none or (says_no(text) and text.casefold() != "f")


def says_good(title: str) -> bool:
    """Return whether a title is a question for which ``no`` means a failure: ``Readable``."""
    return not {*_tokens(title)}.isdisjoint(_GOOD)


def asks_failed(title: str) -> bool:
    """Return whether a title asks for failures or the reasons for them: ``Rejected``, ``ErrorCode``, ``Fehlertext``."""
    tokens = {*_tokens(_of_name(title))}
    is_compound = any(
        token.startswith(_LONG_ERRORS) and not token.endswith(("frei", "los", "free", "less"))
        for token in tokens - _BAD
    )
    return says_failed(_of_name(title)) or is_compound or not REASONS.isdisjoint(tokens)


def asks_amount(title: str) -> bool:
    """Return whether a title asks how many there are, so that 0 means that a card was not delivered: ``Quantity``."""
    return not {*_tokens(title)}.isdisjoint(_AMOUNTS)


def says_nothing(text: str) -> bool:
    """Return whether a text stands for an empty cell: a dash, ``none``, ``n/a``, ``0``, a box without a tick."""
    tokens = _tokens(text)
    return " ".join(tokens) in _NOTHING if tokens else not is_mark(text)


def is_mark(text: str) -> bool:
    """Return whether a text is only a mark, such as a tick, a coloured circle or ``*``."""
    return not (_tokens(text) or _marks(text) <= _BLANKS)


def _marks(text: str) -> set[str]:
    return {each for each in text if category(each) not in _INVISIBLE}


def _of_name(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_0-9]+", " ", name)


def names_rejects(name: str) -> bool:
    """Return whether the name of a sheet or file says that it lists failed cards, or cards that were set aside."""
    if _SHEET_NAME.fullmatch(name.strip()):
        return False
    name = _of_name(name)
    return says_failed(name) or not _SET_ASIDE.isdisjoint(_tokens(name))


def is_neutral(name: str, known: Iterable[str] = ()) -> bool:
    """Return whether a name or heading has only words that do not sort cards: ``Box 2``."""
    return not _sorting(name, known)


def is_count(text: str) -> bool:
    """Return whether a text has only words for cards and results, as totals do: ``Failed: 0``."""
    return _sorting(text, ()) <= _BAD | _GOOD


def may_sort(names: Sequence[str], known: Iterable[str] = ()) -> bool:
    """Return whether the names of several sheets or files may sort cards, into good and bad ones for example.

    They do not if they differ only in numbers and in words such as ``box``, or those that are known; ``Bin 2`` does.
    """
    are_grades = len({*names}) > 1 and not all(_GRADES.isdisjoint(_tokens(_of_name(name))) for name in names)
    return are_grades or len({_sorting(name, known) for name in names}) > 1


def _sorting(name: str, known: Iterable[str]) -> frozenset[str]:
    if not any(map(str.isalnum, name)):
        return frozenset({name})
    harmless = _NEUTRAL.union(*(_tokens(_of_name(each)) for each in known))
    return frozenset(_tokens(_of_name(name))) - harmless
