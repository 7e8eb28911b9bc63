"""The adapter to the host: programs, facts, files that survive a crash."""
