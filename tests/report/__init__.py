"""Tests of dataloader.report."""
