"""The daemon on every host: it obeys, and owns the QEMUs, taps and journals of its host."""
