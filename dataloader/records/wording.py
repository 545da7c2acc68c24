"""Preference sets in plain words: what each term does."""

from collections.abc import Iterator, Mapping
from typing import Any

from dataloader.records.snapsets import APPLICATION_TERM, COMMON_TERM, terms

_SCALE_STEP = 25
"""Percent of display scaling for each step of ``DPIScale`` (2020: 0 is 100 %, 1 is 125 %)."""
_LARGE = 1e100
"""A number that no setting reaches; an integer may be too large for a float."""
_SETTINGS = {
    ("com.microsoft.windows.highContrast", "HighContrastOn"): "high contrast",
    ("com.microsoft.windows.highContrast", "LastHighContrastTheme"): "high contrast theme",
    ("net.gpii.uioPlus", "contrastTheme"): "contrast theme of web pages",
}
"""The application settings in the pilots' snapsets, in words."""


def in_words(preferences: Mapping[str, Any], model: str) -> dict[str, str]:
    """Return what each term of a preference set does, by term; for other contexts than the default, with their name.

    Args:
        preferences: the set, ``{"flat": …}``; anything with another form has no terms.
        model: the document model that defines the terms.
    """
    found: dict[str, str] = {}
    for name, context in members(preferences, "flat", "contexts").items():
        before = "" if name == "gpii-default" else f"{name}: "
        for term, value in members(context, "preferences").items():
            found[f"{before}{term}"] = f"{before}{', '.join(_words(term, value, model))}"
    return found


def members(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path, or an empty one: owners may write anything."""
    found = value
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _words(term: str, value: Any, model: str) -> Iterator[str]:
    if term.startswith(APPLICATION_TERM):
        yield from _of_application(term.removeprefix(APPLICATION_TERM), value)
        return
    name = term.removeprefix(COMMON_TERM)
    title = str(terms(model).get(term, {}).get("title", name)).lower()
    if name == "DPIScale" and isinstance(value, int):
        yield f"display scaling {100 + _SCALE_STEP * value} %"
    elif name == "magnification" and isinstance(value, int | float) and abs(value) < _LARGE:
        yield f"magnification {100 * value:g} %"
    else:
        yield f"{title} {_value(value)}"


def _of_application(name: str, value: Any) -> Iterator[str]:
    dpi = members(value).get("screen-dpi") if name == "com.microsoft.windows.screenDPI" else None
    if isinstance(dpi, int | float) and abs(dpi) < _LARGE:
        yield f"display scaling {100 * dpi:g} %"
    elif name.endswith("/enabled"):
        yield f"{name.removesuffix('/enabled')} {_value(value)}"
    elif not value:
        yield f"{name} started"
    elif not isinstance(value, dict):
        yield f"{name} {_value(value)}"
    else:
        for setting, each in value.items():
            shown = each["value"] if isinstance(each, dict) and "value" in each else each
            yield f"{_SETTINGS.get((name, setting), f'{name} {setting}')} {_value(shown)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    # For a Windows path, show only the file name.
    return f"{value:g}" if isinstance(value, float) else str(value).rpartition("\\")[2]
