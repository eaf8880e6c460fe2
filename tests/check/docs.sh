#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# README.md and CONTRIBUTING.md promise nothing that is not there: each scripts/NAME and `make TARGET` that
# they name exists, or is named in the README's section "What does not work yet"; and what is named there
# does not exist. Its table of real servers is the one of tests/peers/build/versions. Argument: the tree to check.
set -uo pipefail
cd "${1:-$(dirname "$0")/../..}" || exit 2
bad=0
targets=$(cat Makefile tests/*.mk tests/*/*.mk 2>/dev/null | sed -n 's/^\([a-z][a-z -]*\):.*/\1/p' | tr ' ' '\n')
pattern='scripts/[a-z][a-z0-9_-]*|(^|`|&& )make [a-z][a-z-]*'

# said FILE inside|outside: LINE:NAME for each name in the section, or in the rest
said() {
	[[ -e $1 ]] || return 0
	awk -v want="$2" '/^## /{ at = /does not work yet/ } { print (at == (want == "inside")) ? $0 : "" }' "$1" |
		grep -noE "$pattern" | sed 's/:.*make /:make /' | sort -u -t: -k2
}

exists() {
	if [[ $1 == make\ * ]]; then
		grep -qxF -- "${1#make }" <<<"$targets"
	else
		[[ -e $1 ]]
	fi
}

missing=$(said README.md inside)
for file in README.md CONTRIBUTING.md; do
	while IFS=: read -r line name; do
		[[ -n $name ]] || continue
		exists "$name" && continue
		grep -qF -- ":$name" <<<"$missing" && continue
		echo "$file:$line: names $name, which is not there: write it, or say so under \"What does not work yet\""
		bad=1
	done < <(said "$file" outside)
done
while IFS=: read -r line name; do
	[[ -n $name ]] || continue
	exists "$name" || continue
	echo "README.md:$line: says that $name does not work yet, but it is there: strike the line"
	bad=1
done <<<"$missing"
# The table of real servers: "| what it is | version |", the same rows as the recipes, no more and no fewer.
if [[ -e tests/peers/build/versions ]]; then
	rows=$(sed -n '/^| Real server or client/,/^$/s/^| \([^|]*\) | \([0-9][^|]*\) |.*/\1 \2/p' README.md | LC_ALL=C sort)
	built=$(sed '/^#/d;s/^[^ ]* \([^ ]*\) \(.*\)/\2 \1/' tests/peers/build/versions | LC_ALL=C sort)
	while IFS= read -r line; do
		[[ -n $line ]] || continue
		echo "README.md: the table of real servers and tests/peers/build/versions disagree: $line"
		bad=1
	done < <(comm -3 <(echo "$rows") <(echo "$built") | tr -d '\t')
fi
exit $bad
