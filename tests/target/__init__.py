"""Tests of target."""
