"""Preference sets in plain words: what each term does."""

from collections.abc import Iterator, Mapping
from typing import Any

from dataloader.records.snapsets import APPLICATION_TERM, COMMON_TERM, terms

_SCALE_STEP = 25
"""Percent of display scaling for each step of ``DPIScale`` (2020: 0 is 100 %, 1 is 125 %)."""
_SETTINGS = {
    ("com.microsoft.windows.highContrast", "HighContrastOn"): "high contrast",
    ("com.microsoft.windows.highContrast", "LastHighContrastTheme"): "high contrast theme",
    ("net.gpii.uioPlus", "contrastTheme"): "contrast theme of web pages",
}
"""The application settings in the pilots' snapsets, in words."""


def in_words(preferences: Mapping[str, Any], model: str) -> dict[str, str]:
    """Return what each term of a preference set does, by term; for other contexts than the default, with their name.

    Args:
        preferences: the set, ``{"flat": …}``.
        model: the document model that defines the terms.
    """
    contexts = preferences.get("flat", {}).get("contexts", {})
    found: dict[str, str] = {}
    for name, context in contexts.items():
        before = "" if name == "gpii-default" else f"{name}: "
        for term, value in context.get("preferences", {}).items():
            found[f"{before}{term}"] = f"{before}{', '.join(_words(term, value, model))}"
    return found


def _words(term: str, value: Any, model: str) -> Iterator[str]:
    if term.startswith(APPLICATION_TERM):
        yield from _of_application(term.removeprefix(APPLICATION_TERM), value)
        return
    name = term.removeprefix(COMMON_TERM)
    title = str(terms(model).get(term, {}).get("title", name)).lower()
    if name == "DPIScale" and isinstance(value, int):
        yield f"display scaling {100 + _SCALE_STEP * value} %"
    elif name == "magnification" and isinstance(value, int | float):
        yield f"magnification {100 * value:g} %"
    else:
        yield f"{title} {_value(value)}"


def _of_application(name: str, value: Any) -> Iterator[str]:
    if name == "com.microsoft.windows.screenDPI" and isinstance(value.get("screen-dpi"), int | float):
        yield f"display scaling {100 * value['screen-dpi']:g} %"
    elif name.endswith("/enabled"):
        yield f"{name.removesuffix('/enabled')} {_value(value)}"
    elif not value:
        yield f"{name} started"
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
