"""Tests of dataloader.vendor."""
