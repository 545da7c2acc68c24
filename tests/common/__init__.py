"""Tests of dataloader.common."""
