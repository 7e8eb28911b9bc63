"""A data centre on one machine, made of namespaces: cables and faults around the real product."""
