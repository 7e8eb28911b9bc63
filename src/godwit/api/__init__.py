"""The REST face of the manager."""
