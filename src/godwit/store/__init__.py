"""Where the manager keeps all its state."""
