"""Benchmarks: everything measured in one run against one server, so that ratios mean something."""
