"""Tests of dataloader.records."""
