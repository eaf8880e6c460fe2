#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ring "kernels" (P-73): each Debian suite's own kernel loads the programs and they do their work there; and the packaged
# units do theirs under systemd, on a machine that has one. Arguments: suites. A host without QEMU, or without a way to
# fetch a kernel or a system, skips with the reason; what was booted decides. Ends with `kernels: N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run NAME ARGUMENT...: of scripts/vm.
run() {
	local name=$1 status line p f s
	shift
	if ! command -v qemu-system-x86_64 >/dev/null; then
		echo "skip: kernels: $name: no qemu-system-x86_64 (scripts/deps vm)"
		skipped=$((skipped + 1))
		return
	fi
	scripts/vm "$@" >"$log" 2>&1
	status=$?
	line=$(grep -aE '^kernel: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log")
	if [[ -z $line ]] && grep -qa '^vm: cannot fetch' "$log"; then
		echo "skip: kernels: $name: $(sed -n 's/^vm: //p' "$log" | head -n 1)"
		skipped=$((skipped + 1))
		return
	fi
	read -r _ p _ f _ s _ <<<"${line:-kernel: 0 passed, 1 failed, 0 skipped}"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	if [[ $status -ne 0 ]]; then
		cat "$log"
		[[ $f -gt 0 ]] || failed=$((failed + 1))
	else
		grep -a '^skip: ' "$log"
	fi
}

for suite in "$@"; do run "$suite" "$suite"; done
# What was built here runs on this system's own suite.
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
run "units under systemd" -m "$suite"
echo "kernels: $passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
