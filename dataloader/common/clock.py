"""The current time, in the format of manifests and other records."""

from datetime import UTC, datetime


def now() -> str:
    """Return the current time in ISO 8601, UTC, with milliseconds and Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
