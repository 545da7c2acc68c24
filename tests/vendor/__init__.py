"""Tests of vendor."""
