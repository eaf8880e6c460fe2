#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One fuzzer for a number of seconds, as one TAP test. Starts from tests/fuzz/corpus/NAME, keeps what
# it finds beside the program, never in the tree; a crashing input is named so that it can be added
# to the corpus together with the fix.
set -euo pipefail
program=$1 seconds=$2
name=$(basename "$program")
name=${name#fuzz_}
found=$(dirname "$program")/found/$name
mkdir -p "$found"
folders=("$found")
[[ -d tests/fuzz/corpus/$name ]] && folders+=("tests/fuzz/corpus/$name")
options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
	-artifact_prefix="$found.")
[[ -f tests/fuzz/$name.dict ]] && options+=(-dict="tests/fuzz/$name.dict")
if "$program" "${options[@]}" "${folders[@]}" 2>&1 | tail -n 200; then
	echo "ok 1 - fuzz_$name for $seconds s"
else
	echo "not ok 1 - fuzz_$name: the input is named above, $found.*"
fi
echo "1..1"
