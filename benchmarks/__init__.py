"""Measurements of godwit against others, side by side in one lab; run by `make bench` and its like."""
