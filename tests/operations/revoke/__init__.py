"""Tests of revoke."""
