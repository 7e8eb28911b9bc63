"""The wire between manager and agents: one generic gRPC adapter, JSON messages, mutual TLS."""
