"""Tests of dataloader.embedded."""
