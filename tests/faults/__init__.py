"""Commands under faults: failed requests, killed processes, concurrent users."""
