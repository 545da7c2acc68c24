"""Targets: which CouchDB a command works on, and what it may do there."""

from dataloader.target.credentials import readable_by_others
from dataloader.target.environments import (
    MARKER,
    Marker,
    Memory,
    Versions,
    add_versions,
    check_marker,
    guard,
    less_protected,
    most_protected,
    read_marker,
    remember,
    versions_in,
)
from dataloader.target.layout import sensible_shards
from dataloader.target.targets import Environment, Target, read_targets, resolve
from dataloader.target.urls import is_this_machine, split_urls

__all__ = [
    "MARKER",
    "Environment",
    "Marker",
    "Memory",
    "Target",
    "Versions",
    "add_versions",
    "check_marker",
    "guard",
    "is_this_machine",
    "less_protected",
    "most_protected",
    "read_marker",
    "read_targets",
    "readable_by_others",
    "remember",
    "resolve",
    "sensible_shards",
    "split_urls",
    "versions_in",
]
