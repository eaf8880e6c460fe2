# SPDX-License-Identifier: GPL-2.0-or-later
"""After everything else of the ring (by its name): nothing of it is left on this host."""
from harness.left_behind import *  # noqa: F401,F403 pylint: disable=wildcard-import,unused-wildcard-import
