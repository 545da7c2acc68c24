"""Revoking cards and restoring them."""
