"""The operator's library: the REST API in Python."""
