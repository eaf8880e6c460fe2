# SPDX-License-Identifier: GPL-2.0-or-later
"""What the chaos run gets. Before it: tests/harness/fixtures.py. After it: test_chaos.py."""
from harness.fixtures import BUILD, sandbox  # noqa: F401 pylint: disable=unused-import
