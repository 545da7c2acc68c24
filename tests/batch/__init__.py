"""Tests of dataloader.batch."""
