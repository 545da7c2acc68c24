"""Tests of dataloader.cli."""
