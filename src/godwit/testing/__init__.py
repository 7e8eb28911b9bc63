"""Fakes that pass the same suites as the real things; shipped so that others can test with them."""
