"""Tests of couch."""
