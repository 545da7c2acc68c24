"""The time, as records have it."""

from datetime import UTC, datetime


def now() -> str:
    """Return the present time as records have it: ISO 8601 in UTC with milliseconds and Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
