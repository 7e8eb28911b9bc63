"""Reads captured frames and says what became of a VM's connections, and why: values in, values out."""
