"""Compare a batch with the vendor's returned files."""

from dataloader.operations.reconcile.reconciliation import Reconciliation, ReturnedFile, reconcile
from dataloader.operations.reconcile.results import Results, details, results_in, write_results

__all__ = ["Reconciliation", "Results", "ReturnedFile", "details", "reconcile", "results_in", "write_results"]
