# SPDX-License-Identifier: GPL-2.0-or-later
"""What every integration test gets. Before it: tests/harness/fixtures.py. After it: test_*.py."""
from harness.fixtures import (ADDRESSES, BUILD, daemon, inside, namespace,  # noqa: F401 pylint: disable=unused-import
                              sandbox)
