"""Logs and metrics, made from the same events that everyone else reads."""
