"""Tests of backup files."""
