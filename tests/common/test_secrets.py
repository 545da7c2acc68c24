"""Passwords are masked in every encoding."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.common import Secrets

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
    "percent-encoded in Latin-1": lambda text: quote(text.encode("latin-1"), safe=""),
    "in hex": lambda text: text.encode().hex().upper(),
    "in hex with the user": lambda text: f"admin:{text}".encode().hex(),
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


@settings(deadline=None, database=None)
@given(password=st.text(min_size=8, max_size=30), way=st.sampled_from(sorted(WRITTEN)))
def test_any_password_is_masked(password: str, way: str) -> None:
    """Whatever its characters; in text from a server, weak passwords are masked, too."""
    try:
        written = WRITTEN[way](password)
    except UnicodeEncodeError:
        return
    assert "***" in Secrets("admin", password).hide_in_theirs(f"<{written}>")


def test_other_text_is_not_masked() -> None:
    """A word that is also a weak password is masked in text from a server only; numbers and nearby words are kept."""
    secrets = Secrets("admin", "user")
    text = "user-1 of 117, usage: a username of 97 letters"
    assert secrets.hide(text) == text
    assert secrets.hide_in_theirs(text) == "***-1 of 117, usage: a username of 97 letters"
    assert Secrets("admin", "a").hide_in_theirs("of 97 letters, YQ") == "of 97 letters, YQ"
    assert Secrets("admin", None).hide("anything") == "anything"
