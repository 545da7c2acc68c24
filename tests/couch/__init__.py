"""Tests of dataloader.couch."""
