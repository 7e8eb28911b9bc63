"""The composition root: builds objects; the only place that chooses adapters."""
