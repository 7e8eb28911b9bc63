"""The command line: a person's face of the REST API."""
