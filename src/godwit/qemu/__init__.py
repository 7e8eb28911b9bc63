"""The adapter to QEMU: command line, keeper, monitor, memory."""
