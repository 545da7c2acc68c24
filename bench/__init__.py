"""Benchmarks: one run measures everything against one server, so that the ratios are comparable."""
