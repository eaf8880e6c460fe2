#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# `make analyze`: gcc -fanalyzer over user space.
# Too slow, and too often wrong, to be part of `make check`: for reading. Environment: O, CC,
# CPPFLAGS_ALL (from the Makefile). Ends with 1 when anything was said.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
# The definitions hold quotes, as make hands them to a shell.
# shellcheck disable=SC2154
flags=() && eval "flags=(${CPPFLAGS_ALL:-})"
read -r -a cc <<<"${CC:-gcc}"
mapfile -t files < <(find userspace -name '*.c' | sort)
out=$(
	printf '%s\n' "${files[@]}" | xargs -P 2 -n 1 "${cc[@]}" -std=gnu11 -O1 -fanalyzer \
		-fdiagnostics-plain-output "${flags[@]}" -c -o /dev/null 2>&1 | grep -E '(warning|error):'
)
[[ -z $out ]] || { printf '%s\n' "$out" && exit 1; }
