"""The document models; adding a file adds a model."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from dataloader.records.models.base import Entry, Kind, Login, Lookup, Marking, Model, Revoking, Role

__all__ = [
    "DEFAULT_MODEL",
    "Entry",
    "Kind",
    "Login",
    "Lookup",
    "Marking",
    "Model",
    "Revoking",
    "Role",
    "get_model",
    "model_names",
]

DEFAULT_MODEL = "gpii-token"


@cache
def _models() -> dict[str, Model]:
    found: dict[str, Model] = {}
    for module in iter_modules(__path__):
        if module.name != "base":
            model: Model = import_module(f"{__name__}.{module.name}").MODEL
            found[model.name] = model
    return found


def model_names() -> list[str]:
    """Return the names of the models, the default one first."""
    return sorted(_models(), key=lambda name: (name != DEFAULT_MODEL, name))


def get_model(name: str) -> Model:
    """Return a model by its name.

    Raises:
        KeyError: there is no such model.
    """
    return _models()[name]
