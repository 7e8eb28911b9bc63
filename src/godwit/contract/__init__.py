"""What the story needs others to be: Protocols and the messages they exchange, no code."""
