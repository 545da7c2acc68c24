"""Tests of dataloader.operations."""
