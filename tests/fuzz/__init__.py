"""Fuzz tests of readers and replies."""
