"""`python -m godwit.lab.offload DEVICE...`: these network cards leave no checksum to somebody else.

Open vSwitch in user space passes frames on as it reads them, and a checksum that was left to hardware is never made.
"""

from __future__ import annotations

import sys

from godwit.host.offload import make_checksums

if __name__ == "__main__":
    for each in sys.argv[1:]:
        make_checksums(each)
