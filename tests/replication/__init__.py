"""Tests of dataloader.replication."""
