#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# .clang-format decides; `make format` applies it. Argument: the tree to check.
# Versions of clang-format disagree in small things. The judge is the oldest supported system's, 14; under
# another one the check is skipped with 77, so that no tree is right here and wrong there.
set -uo pipefail
cd "${1:-$(dirname "$0")/../..}" || exit 2
version=$(clang-format --version | grep -oE 'version [0-9]+' | cut -d' ' -f2)
if [[ $version != 14 ]]; then
	echo "format: judged by clang-format 14 only, this is ${version:-unknown}"
	exit 77
fi
mapfile -t files < <(find headers bpf userspace tests \( -name '*.c' -o -name '*.h' \) 2>/dev/null | sort)
[[ ${#files[@]} -gt 0 ]] || exit 0
# One line per place; the source line and caret that follow are noise here.
out=$(printf '%s\n' "${files[@]}" | xargs -P 2 -n 24 clang-format --style=file --dry-run --ferror-limit=0 2>&1 |
	sed -n 's/^\([^:]*:[0-9]*\):[0-9]*: \(warning\|error\): code should be clang-formatted.*/\1: not as .clang-format says: make format/p' |
	sort -u -t: -k1,1 -k2,2n)
[[ -z $out ]] || { printf '%s\n' "$out"; exit 1; }
