#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The runner must count what ran and never hide a program that ended badly.
set -uo pipefail
runner=$PWD/tests/harness/run_ring
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
n=0

# program NAME: standard input as an executable
program() {
	cat >"$folder/$1"
	chmod +x "$folder/$1"
}

# shows WHAT STATUS REGEX RUN_RING_ARGUMENTS...: one test
shows() {
	local what=$1 status=$2 regex=$3 out got
	shift 3
	out=$("$runner" "$@" 2>&1)
	got=$?
	n=$((n + 1))
	if [[ $got == "$status" ]] && grep -Eq -- "$regex" <<<"$out"; then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		printf '# status %s, wanted %s and "%s"\n' "$got" "$status" "$regex"
		printf '%s\n' "$out" | sed 's/^/# /'
	fi
}

program good <<<$'#!/bin/sh\necho "1..2"\necho "ok 1 - one"\necho "ok 2 - two"'
program bad <<<$'#!/bin/sh\necho "ok 1 - one"\necho "why it failed"\necho "not ok 2 - two"\nexit 1'
program skips <<<$'#!/bin/sh\necho "# skip: this kernel has no MPTCP"\necho "not ok 1 # SKIP mptcp"'
program crash <<<$'#!/bin/sh\necho "ok 1 - one"\nkill -SEGV $$'
program leak <<<$'#!/bin/sh\necho "ok 1 - one"\nexit 23'
program mute <<<$'#!/bin/sh\nexit 0'
program slow <<<$'#!/bin/sh\necho "ok 1 - one"\nsleep 60 & wait'
printf 'echo "ok 1 - from bash"\n' >"$folder/test_a.sh"
printf 'import pytest\ndef test_a():\n    pass\ndef test_b():\n    pytest.skip("no root here")\n' >"$folder/test_a.py"
printf 'def test_a():\n    assert 1 == 2\n' >"$folder/test_b.py"
printf 'import nothing_of_that_name\n' >"$folder/test_c.py"
for file in d:e e:d; do # each ends only once the other runs
	printf 'import os, time\ndef test_a():\n    open("%s", "w").close()\n    for _ in range(200):\n        if os.path.exists("%s"):\n            return\n        time.sleep(0.05)\n    assert False, "alone"\n' \
		"$folder/${file%:*}.runs" "$folder/${file#*:}.runs" >"$folder/test_${file%:*}.py"
done
printf 'import os\ndef test_last():\n    assert all(os.path.exists(one) for one in ("%s", "%s"))\n' \
	"$folder/d.runs" "$folder/e.runs" >"$folder/test_zz_last.py"

shows "passes are counted" 0 '^x: 2 passed, 0 failed, 0 skipped$' x "$folder/good"
shows "a failure is counted and shown" 1 'why it failed' x "$folder/bad" "$folder/good"
shows "sums are over all programs" 1 '^x: 3 passed, 1 failed, 0 skipped$' x "$folder/bad" "$folder/good"
shows "a skip has its reason" 0 'skip: skips: mptcp: this kernel has no MPTCP' x "$folder/skips"
shows "an end by signal is a failure" 1 'ended by SIGSEGV' x "$folder/crash"
shows "a bad status is a failure" 1 'ended with status 23' x "$folder/leak"
shows "silence is a failure" 1 'reported no test at all' x "$folder/mute"
shows "a time-out is a failure" 1 'ran longer than 1 s' x --timeout 1 "$folder/slow"
shows "a shell script speaks TAP" 0 '^x: 1 passed' x "$folder/test_a.sh"
shows "pytest's tests are counted one by one" 0 '^x: 1 passed, 0 failed, 1 skipped$' x "$folder/test_a.py"
shows "pytest's skip has its reason" 0 'no root here' x "$folder/test_a.py"
shows "pytest's failure is one" 1 '^x: 1 passed, 1 failed, 1 skipped$' x "$folder/test_a.py" "$folder/test_b.py"
shows "a file that does not import is a failure" 1 '^x: 0 passed, 1 failed' x "$folder/test_c.py"
shows "what waits runs beside the others, and who looks at what is left after all" 0 '^x: 3 passed, 0 failed' \
	x --beside test_e.py "$folder/test_zz_last.py" "$folder/test_d.py" "$folder/test_e.py"
shows "a failure beside the others is one" 1 '^x: 1 passed, 1 failed' x --beside test_b.py "$folder/test_zz_last.py" "$folder/test_b.py"
shows "an empty ring is zero, not an error" 0 '^x: 0 passed, 0 failed, 0 skipped$' x
if [[ $EUID -ne 0 ]]; then
	shows "a ring that needs root is skipped with the reason" 0 'needs root' x --root "$folder/good"
fi
echo "1..$n"
