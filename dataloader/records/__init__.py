"""What is in the databases: document models, views, snapsets and samples."""

from dataloader.records.samples import read_samples
from dataloader.records.snapsets import EMPTY, Snapsets, read_snapset, read_snapsets

__all__ = ["EMPTY", "Snapsets", "read_samples", "read_snapset", "read_snapsets"]
