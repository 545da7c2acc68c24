"""Passwords are masked in every encoding."""

import html
import json
import time
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from unicodedata import normalize
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.common import Secrets
from tests.support.marks import THOROUGH

PASSWORD = "pä/s w+rd>?\"'&1\\%[#~~~"


def _lower_percent(text: str) -> str:
    return quote(text, safe="").replace("%2F", "%2f").replace("%5C", "%5c")


def _hex_entities(text: str) -> str:
    return "".join(f"&#x{ord(each):X};" if not each.isalnum() else each for each in text)


def _javascript(text: str) -> str:
    return "".join(
        each if each.isalnum() else f"\\u{ord(each):04X}" if each < "\U00010000" else f"\\u{{{ord(each):X}}}"
        for each in text
    )


def batched(data: bytes) -> Iterator[bytes]:
    """Yield pairs of bytes."""
    return (data[at : at + 2] for at in range(0, len(data), 2))


WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "percent-encoded": quote,
    "percent-encoded whole": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": _lower_percent,
    "as a form": quote_plus,
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-encoded three times": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "in HTML": html.escape,
    "in HTML with numbers": _hex_entities,
    "in HTML twice": lambda text: html.escape(html.escape(text)),
    "in HTML with a number for /": lambda text: html.escape(text).replace("/", "&#x2F;"),
    "in JavaScript": _javascript,
    "by Python": repr,
    "by Python as bytes": lambda text: repr(text.encode()),
    "in Latin-1": lambda text: text.encode().decode("latin-1"),
    "in base64": lambda text: b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "in base64 without padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
    "in base64 with the user": lambda text: urlsafe_b64encode(f"admin:{text}".encode()).decode().rstrip("="),
    "as an Erlang list": lambda text: "[" + ",".join(str(byte) for byte in text.encode()) + "]",
    "as an Erlang binary": lambda text: "<<" + ", ".join(str(byte) for byte in text.encode()) + ">>",
    "as an Erlang list in lines": lambda text: ",\n                      ".join(str(byte) for byte in text.encode()),
    "as a list of characters": lambda text: str([*map(ord, text)]),
    "in UTF-16": lambda text: text.encode("utf-16-le").decode("latin-1"),
    "in UTF-16 in hex": lambda text: text.encode("utf-16-le").hex(),
    "in UTF-16 in base64": lambda text: b64encode(text.encode("utf-16-be")).decode(),
    "in base64 in a URL": lambda text: quote(b64encode(f"admin:{text}~~~???".encode()).decode(), safe=""),
    "in base64 in JSON": lambda text: b64encode(f"admin:{text}~~~???".encode()).decode().replace("/", "\\/"),
    "percent-encoded in Latin-1": lambda text: quote(text.encode("latin-1"), safe=""),
    "in hex": lambda text: text.encode().hex().upper(),
    "in hex with the user": lambda text: f"admin:{text}".encode().hex(),
    "in hex with colons": lambda text: text.encode().hex(":"),
    "in hex with spaces": lambda text: text.encode().hex(" ").upper(),
    "as hex numbers": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "as numbers with spaces": lambda text: " ".join(str(byte) for byte in text.encode()),
    "in octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "in quoted-printable": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
    "in base32": lambda text: b32encode(text.encode()).decode(),
    "percent-encoded in UTF-16": lambda text: "".join(
        f"%u{int.from_bytes(pair):04x}" for pair in batched(text.encode("utf-16-be"))
    ),
    "decomposed": lambda text: normalize("NFD", text),
    "composed": lambda text: normalize("NFC", text),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_password_is_masked_in_every_encoding(way: str) -> None:
    """In text from a server and in our own, alone and within other text."""
    secrets = Secrets("admin", PASSWORD)
    written = WRITTEN[way](PASSWORD)
    for hide in (secrets.hide, secrets.hide_in_theirs):
        hidden = hide(f"the server says: {written}, and more")
        assert "***" in hidden
        assert written.strip("[]<>'\"b") not in hidden
        assert hidden.startswith("the server says: ")
        assert hidden.endswith(", and more")


@THOROUGH
@settings(deadline=None, database=None)
@given(password=st.text(min_size=8, max_size=30), way=st.sampled_from(sorted(WRITTEN)))
def test_any_password_is_masked(password: str, way: str) -> None:
    """Whatever its characters; in text from a server, weak passwords are masked, too."""
    try:
        written = WRITTEN[way](password)
    except UnicodeEncodeError:
        return
    assert "***" in Secrets("admin", password).hide_in_theirs(f"<{written}>")


@pytest.mark.parametrize(
    "text",
    [
        '{{"_id": "a", "oauth2ClientSecret": "{}", "name": "Library"}}',
        '"{{\\"password\\":\\"{}\\",\\"name\\":\\"Library\\"}}"',
        "{{'client_secret': '{}', 'name': 'Library'}}",
        '{{[{{<<"password">>,<<"{}">>}},{{<<"name">>,<<"Library">>}}]}}',
    ],
)
def test_secrets_in_documents_that_a_server_repeats_are_masked(text: str) -> None:
    """They are not known here; the names of their members are."""
    for secrets in (Secrets("admin", "other"), Secrets()):
        hidden = secrets.hide_in_theirs(text.format("open sesame, please"))
        assert "sesame" not in hidden
        assert "***" in hidden
        assert "Library" in hidden
    assert Secrets().hide_in_theirs("Name or password is incorrect.") == "Name or password is incorrect."
    assert Secrets().hide_in_theirs("client_secret=123&name=Library") == "client_secret=***&name=Library"


def test_other_text_is_not_masked() -> None:
    """A word that is also a weak password is masked in text from a server only; numbers and nearby words are kept."""
    secrets = Secrets("admin", "user")
    text = "user-1 of 117, usage: a username of 97 letters"
    assert secrets.hide(text) == text
    assert secrets.hide_in_theirs(text) == "***-1 of 117, usage: a username of 97 letters"
    assert Secrets("admin", "a").hide_in_theirs("of 97 letters, YQ") == "of 97 letters, YQ"
    assert Secrets("admin", None).hide("anything") == "anything"


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_password_is_masked_within_longer_base64(before: str) -> None:
    """A proxy may encode a whole message that contains it."""
    encoded = b64encode(f"{before}{PASSWORD} and more".encode()).decode()
    hidden = Secrets("admin", PASSWORD).hide(encoded)
    assert "***" in hidden
    for at in range(3):
        # None of its letters is left, apart from those that it shares with its neighbours.
        assert b64encode(bytes(at) + PASSWORD.encode()).decode()[4:-4] not in hidden


@pytest.mark.parametrize("way", WRITTEN)
def test_password_of_backslashes_is_masked(way: str) -> None:
    """Also where each of them is escaped with more."""
    password = '\\\\\\x"\\é\\\\1\\'
    written = WRITTEN[way](password)
    hidden = Secrets("admin", password).hide(f"the server says: {written}, and more")
    assert "***" in hidden
    assert written not in hidden


@pytest.mark.parametrize("password", ["\\\\\\\\\\x1", "\\u005c\\u005c", "%" * 30 + "1"])
@pytest.mark.parametrize("part", ["\\", "\\x5c", "%25", "%"])
def test_part_of_a_password_is_found_quickly(password: str, part: str) -> None:
    """A password of characters that escape others, in a text of such characters."""
    secrets = Secrets("admin", password)
    start = time.process_time()
    secrets.hide_in_theirs(part * (20_000 // len(part)))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("part", ["\\", "p\\", "%25", "&amp;", "&#0", "112, ", "70 ", "\\u00", "0x70,"])
def test_long_text_is_masked_quickly(part: str) -> None:
    """A hostile server must not make masking take hours."""
    secrets = Secrets("admin", PASSWORD)
    start = time.process_time()
    secrets.hide_in_theirs(part[:-1] + part[-1] * 1_000_000)
    secrets.hide_in_theirs(part * (1_000_000 // len(part)))
    assert time.process_time() - start < 5
