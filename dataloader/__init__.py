"""Prepares batches of GPII cards and loads their records into CouchDB."""

__version__ = "0.1.0"
