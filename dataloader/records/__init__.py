"""What is in the databases: document models, views, snapsets and samples."""

from dataloader.records.samples import read_samples
from dataloader.records.snapsets import EMPTY, Snapset, Snapsets, read_snapset, read_snapsets
from dataloader.records.wording import in_words

__all__ = ["EMPTY", "Snapset", "Snapsets", "in_words", "read_samples", "read_snapset", "read_snapsets"]
