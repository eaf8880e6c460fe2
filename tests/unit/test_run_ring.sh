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
# python NAME WAITS: its test ends only once that of WAITS runs, too
python() {
	cat <<-END
		import os, time
		def test_$1():
		    open("$folder/$1.runs", "w").close()
		    for _ in range(400):
		        if os.path.exists("$folder/$2.runs"):
		            time.sleep(0.3)
		            return open("$folder/$1.ended", "w").close()
		        time.sleep(0.05)
		    assert False, "alone"
	END
}
python d e >"$folder/test_d.py"
python e d >"$folder/test_e.py"
for name in alone zz_last; do
	printf 'import os\ndef test_last():\n    assert all(os.path.exists(one) for one in ("%s", "%s"))\n' \
		"$folder/d.ended" "$folder/e.ended" >"$folder/test_$name.py"
done
{
	python g1 g3
	python g2 g1
	python g3 g1
} >"$folder/test_g.py"
{
	python h h
	printf 'import pytest\n@pytest.mark.parametrize("n", [":", "[::1]"])\ndef test_h_alone(n):\n'
	printf '    assert os.path.exists("%s")\n' "$folder/d.ended"
} >"$folder/test_h.py"
printf 'import time\ndef test_a():\n    pass\ndef test_b():\n    time.sleep(60)\n' >"$folder/test_slow.py"
# It fails the first time.
printf 'import os\ndef test_a():\n    pass\ndef test_b():\n    if not os.path.exists("%s"):\n' "$folder/odd" >"$folder/test_odd.py"
printf '        open("%s", "w").close()\n        assert False, "so it failed"\n' "$folder/odd" >>"$folder/test_odd.py"

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
shows "files run at once, those that measure when they are done, and who looks at what is left after all" 0 \
	'^x: 4 passed, 0 failed' x --workers 4 --alone test_alone.py "$folder"/test_{zz_last,alone,d,e}.py
rm -f "$folder"/?.{runs,ended}
shows "a test of a file may measure, too, and the others of its file do not wait" 0 '^x: 5 passed, 0 failed' \
	x --workers 3 --alone test_h.py::test_h_alone "$folder"/test_{h,d,e}.py
shows "a test that measures and is not there is told" 1 'test_h.py has no test_i' \
	x --workers 3 --alone test_h.py::test_i "$folder"/test_h.py
shows "a file that is not there is told" 2 'not among the files: test_i.py' x --workers 3 --first test_i.py=2 "$folder"/test_h.py
shows "a failure beside the others is one, and says its file" 1 '^FAILED test_b.py: .*test_a$' \
	x --workers 2 "$folder"/test_{a,b}.py
shows "results of all files are counted" 1 '^x: 1 passed, 2 failed, 1 skipped$' x --workers 2 "$folder"/test_{a,b,c}.py
shows "what fails beside others is tried alone, and counts as it is then" 0 '^x: 3 passed, 0 failed, 1 skipped$' \
	x --workers 2 --again 1 "$folder"/test_{a,odd}.py
rm -f "$folder/odd"
shows "that it failed is told" 0 '^again: test_odd.py: .*test_b: failed beside others, passed alone$' \
	x --workers 2 --again 1 "$folder"/test_{a,odd}.py
rm -f "$folder/odd"
shows "and how, indented" 0 '^  [|] E +AssertionError: so it failed' x --workers 2 --again 1 "$folder"/test_{a,odd}.py
rm -f "$folder/odd"
shows "what fails twice has failed" 1 '^x: 1 passed, 1 failed, 1 skipped$' x --workers 2 --again 2 "$folder"/test_{a,b}.py
shows "more that fail than may be tried again have failed" 1 '^x: 2 passed, 2 failed, 1 skipped$' \
	x --workers 2 --again 1 "$folder"/test_{a,b,odd}.py
rm -f "$folder/odd"
shows "nothing is tried again unasked" 1 '^x: 2 passed, 1 failed, 1 skipped$' x --workers 2 "$folder"/test_{a,odd}.py
shows "a file in pieces runs whole, its pieces at once" 0 '^x: 3 passed, 0 failed, 0 skipped$' \
	x --workers 2 --first test_g.py=2 "$folder/test_g.py"
shows "a file that cannot be cut is a failure as it is whole" 1 '^x: 0 passed, 1 failed' \
	x --workers 2 --first test_c.py=2 "$folder/test_c.py"
shows "a file that takes too long says where it was" 1 'test_slow.py:5: KeyboardInterrupt' \
	x --workers 2 --timeout 8 "$folder/test_slow.py"
shows "an empty ring is zero, not an error" 0 '^x: 0 passed, 0 failed, 0 skipped$' x
if [[ $EUID -ne 0 ]]; then
	shows "a ring that needs root is skipped with the reason" 0 'needs root' x --root "$folder/good"
fi
echo "1..$n"
