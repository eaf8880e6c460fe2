#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# `make check`: every rule of CONTRIBUTING.md that a machine can see. Each check prints one line per
# violation, "file:line: what, and how to mend it", and nothing when all is well. Two at a time.
#
#   run.sh [CHECK...]        environment: O (build folder), CC, CLANG, BPFTOOL, WARN=1
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
here=tests/check

shell_files() {
	find scripts tests deploy .ci -type f 2>/dev/null | while read -r f; do
		[[ $f == *.sh || $f == *.bash || $f == */recipe ]] || head -n 1 "$f" | grep -aqE '^#!.*\b(ba)?sh\b' && echo "$f"
	done
	return 0
}

check_shell() {
	local files
	mapfile -t files < <(shell_files)
	# SC1007 is about `local x=`; here it is meant.
	shellcheck --format=gcc --severity=style --exclude=SC1007 "${files[@]}"
}

check_python() {
	local f bad=0
	while read -r f; do
		/usr/bin/python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$f" 2>&1 |
			tail -n 3 | tr '\n' ' ' | grep . && bad=1
	done < <(find scripts tests \( -name '*.py' -o -type f -executable \) ! -path '*/corpus/*' |
		while read -r f; do head -n 1 "$f" | grep -aq 'python' && echo "$f"; done)
	return $bad
}

check_format() { $here/format.sh; }
check_includes() { $here/includes.py; }
check_names() { $here/names.py; }
check_lengths() { $here/lengths.py; }
check_layout() { $here/layout.py check; }
check_abi() { $here/abi.sh; }
check_man() { $here/man.sh; }
check_docs() { $here/docs.sh; }
check_selftest() { $here/selftest.sh; }

checks=(format includes names lengths layout abi shell python man docs selftest)
[[ $# -eq 0 ]] || checks=("$@")
O=$(realpath -m "${O:-build}")
export O
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

one() {
	"check_$1" >"$folder/$1" 2>&1 </dev/null
	echo $? >"$folder/$1.status"
}
for check in "${checks[@]}"; do
	while [[ $(jobs -rp | wc -l) -ge 2 ]]; do wait -n; done
	one "$check" &
done
wait

passed=0 failed=0 skipped=0
for check in "${checks[@]}"; do
	status=$(<"$folder/$check.status")
	if [[ $status == 77 ]]; then
		skipped=$((skipped + 1))
		sed 's/^/skip: /' "$folder/$check"
		continue
	fi
	cat "$folder/$check"
	if [[ $status == 0 ]]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED $check: $(wc -l <"$folder/$check") lines above"
	fi
done
echo "check: $passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
