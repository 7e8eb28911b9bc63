"""The adapter to the kernel's network: the only place that speaks netlink."""
