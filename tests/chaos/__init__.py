"""Real processes under faults, and a checker that accounts for every message."""
