#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ring "kernels" (P-73): each Debian suite's own kernel loads the programs and they do their work there. Arguments:
# suites. A machine without QEMU, or without a way to fetch a kernel, skips with the reason; a kernel that was
# booted decides. Ends with `kernels: N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for suite in "$@"; do
	if ! command -v qemu-system-x86_64 >/dev/null; then
		echo "skip: kernels: $suite: no qemu-system-x86_64 (scripts/deps vm)"
		skipped=$((skipped + 1))
		continue
	fi
	scripts/vm "$suite" >"$log" 2>&1
	status=$?
	line=$(grep -aE '^kernel: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log")
	if [[ -z $line ]] && grep -qa '^vm: cannot fetch' "$log"; then
		echo "skip: kernels: $suite: its kernel cannot be fetched here"
		skipped=$((skipped + 1))
		continue
	fi
	read -r _ p _ f _ s _ <<<"${line:-kernel: 0 passed, 1 failed, 0 skipped}"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	if [[ $status -ne 0 ]]; then
		cat "$log"
		[[ $f -gt 0 ]] || failed=$((failed + 1))
	else
		grep -a '^skip: ' "$log"
	fi
done
echo "kernels: $passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
