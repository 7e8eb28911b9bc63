"""Values, tables and decisions: no I/O, no clock, no logger, no event loop."""
