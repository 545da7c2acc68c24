"""Prepare batches of GPII cards and load their records into CouchDB.

This is the public Python API. Importing it imports nothing else; each name is imported when it is first used.

Mint a batch: a manifest, which is the record of its cards, and a workbook for the vendor.

>>> import dataloader
>>> batch = dataloader.mint("spring", {"snapset_1a": 30, "empty": 20}, folder, spares={"empty": 2})
>>> batch.manifest.header.cards
52
>>> batch.workbook.name
'spring.xlsx'

Compare the vendor's returned file with the batch. A card counts as encoded only if there is no doubt about it.

>>> found = dataloader.reconcile(batch.manifest, [dataloader.ReturnedFile(returned)], dataloader.Reading(cards=52))
>>> found.good, found.counts[dataloader.Verdict.ENCODED], found.counts.spares_unused
(True, 50, 2)

See what a load would do, load, and load again: existing documents are not written a second time.

>>> target = dataloader.resolve(url=url, environment="ci", prefix=prefix)
>>> server = dataloader.Server(target.address)
>>> snapsets = dataloader.read_snapsets()
>>> sources = dataloader.all_sources(target, [batch.manifest], snapsets)
>>> plan = dataloader.plan(server, target, sources)
>>> plan.count(dataloader.State.ABSENT) == plan.documents
True
>>> result = dataloader.load(server, target, sources)
>>> result.count(dataloader.Outcome.CREATED) == plan.documents
True
>>> dataloader.load(server, target, sources).count(dataloader.Outcome.CREATED)
0

Check that every card works, with the requests that the GPII servers make.

>>> verified = dataloader.verify(server, target, [batch.manifest], snapsets)
>>> verified.good, verified.verdicts[dataloader.VerifyVerdict.OK]
(True, 52)

Every error is a :class:`DataloaderError` with a one-line message and an exit code.

>>> dataloader.mint("spring", {"empty": 1}, folder)
Traceback (most recent call last):
dataloader.common.errors.FileError: ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataloader.batch import Manifest, Reconciled, Verdict, read_cards
    from dataloader.common import VERSION as __version__  # noqa: N811 - the name that packages give their version
    from dataloader.common import DataloaderError, ExitCode
    from dataloader.couch import Server
    from dataloader.operations.card_verdicts import VerifyVerdict
    from dataloader.operations.generate import generate as mint
    from dataloader.operations.load import LoadOptions, LoadResult, load
    from dataloader.operations.plan import Plan, plan
    from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile
    from dataloader.operations.sources import Source, all_sources
    from dataloader.operations.verify import VerifyResult, verify
    from dataloader.records import Snapsets, read_snapsets
    from dataloader.replication import Outcome, State
    from dataloader.target import Environment, Target, resolve
    from dataloader.vendor.returned import Reading

__all__ = [
    "DataloaderError",
    "Environment",
    "ExitCode",
    "LoadOptions",
    "LoadResult",
    "Manifest",
    "Outcome",
    "Plan",
    "Reading",
    "Reconciled",
    "Reconciliation",
    "ReturnedFile",
    "Server",
    "Snapsets",
    "Source",
    "State",
    "Target",
    "Verdict",
    "VerifyResult",
    "VerifyVerdict",
    "__version__",
    "all_sources",
    "load",
    "mint",
    "plan",
    "read_cards",
    "read_snapsets",
    "reconcile",
    "resolve",
    "verify",
]

_NAMES = {
    "batch": ("Manifest", "Reconciled", "Verdict", "read_cards"),
    "common": ("DataloaderError", "ExitCode"),
    "couch": ("Server",),
    "operations": (
        *("LoadOptions", "LoadResult", "Outcome", "Plan", "Source", "VerifyResult", "VerifyVerdict"),
        *("all_sources", "load", "plan", "verify"),
    ),
    "operations.reconcile": ("Reconciliation", "ReturnedFile", "reconcile"),
    "records": ("Snapsets", "read_snapsets"),
    "replication": ("State",),
    "target": ("Environment", "Target", "resolve"),
    "vendor.returned": ("Reading",),
}
_HOMES = {
    **{name: (package, name) for package, names in _NAMES.items() for name in names},
    "mint": ("operations", "generate"),
    "__version__": ("common", "VERSION"),
}
"""The package and the original name of each public name."""


def __getattr__(name: str) -> Any:
    """Import the package that defines a name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package, there = _HOMES[name]
    return getattr(import_module(f"{__name__}.{package}"), there)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
