"""The adapters to the places where disks live."""
