"""Non-stop live migration of QEMU/KVM virtual machines, with proof."""
