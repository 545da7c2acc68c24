"""Where the documentation is: the one place that holds its address, for people who installed the wheel."""

DOCUMENTATION = "https://github.com/GPII/dataloader/blob/main/docs/"
"""The folder of the pages, in the repository that ``pyproject.toml`` names."""


def page(name: str) -> str:
    """Return the address of a page, as messages name it.

    Args:
        name: the file in the folder ``docs``, with a heading where that helps: ``layouts.md#chips``.
    """
    return f"{DOCUMENTATION}{name}"
