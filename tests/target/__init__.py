"""Tests of dataloader.target."""
