"""Addresses of the documentation pages, for people who installed the wheel."""

DOCUMENTATION = "https://github.com/GPII/dataloader/blob/main/docs/"
"""The ``docs`` folder of the repository that ``pyproject.toml`` names."""


def page(name: str) -> str:
    """Return the address of a documentation page, for use in messages.

    Args:
        name: the file in the folder ``docs``, optionally with an anchor: ``layouts.md#chips``.
    """
    return f"{DOCUMENTATION}{name}"
