"""Rules and targets to jobs; which of them are stale, and why."""
