#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The layouts of headers/ and the shapes of the maps against tests/check/abi.digest ("ABI n sha256"):
# a change without a new SN_ABI_VERSION fails. --update writes the digest anew (make abi-digest).
set -euo pipefail
flags=
if [[ ${1:-} == --update ]]; then
	flags=--update
	shift
fi
LAYOUT_FLAGS=$flags exec "$(dirname "$0")/layout.py" digest "$@"
