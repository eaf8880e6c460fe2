#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The manuals tell of everything that there is, and of nothing else: sinewd(8) of each setting, sinewctl(1) of
# each command with its operands and options, sinew.yaml(5) of each key that the codec reads, agent.yaml(5) of each
# key of an agent's settings and registries, and of each type of registry. And mandoc has
# nothing to say about them. Argument: the tree to check; environment: O, the build folder.
set -uo pipefail
cd "${1:-$(dirname "$0")/../..}" || exit 2
O=${O:-build}
pages=userspace/man
bad=0

say() {
	echo "$@"
	bad=1
}

# What mandoc says about paragraphs and dates is scdoc's own affair.
lint() {
	local page name line
	for page in "$pages"/*.scd; do
		[[ -e $page ]] || continue
		name=$O/man/$(basename "$page" .scd)
		[[ -e $name ]] || {
			say "$page:1: not built: make"
			continue
		}
		while read -r line; do
			say "$page: of the page made of it, $line"
		done < <(mandoc -T lint -W warning "$name" 2>&1 | sed 's|^mandoc: [^:]*:\([0-9]*:[0-9]*\):|line \1:|' |
			grep -v 'paragraph macro\|missing date\|cannot parse date')
	done
}

settings() {
	local page=$pages/sinewd.8.scd table=userspace/daemon/setting.c name
	[[ -e $page && -e $table ]] || return
	while read -r name; do
		grep -qF "*$name*" "$page" || say "$page:1: does not tell of the setting $name"
	done < <(grep -oE '"[a-z]+\.[a-zA-Z0-9]+", "SINEWD_' "$table" | cut -d'"' -f2)
	while read -r name; do
		grep -qF "\"$name\"" "$table" || say "$page:1: tells of the setting $name, which does not exist"
	done < <(grep -oE '^\*[a-z]+\.[a-zA-Z0-9]+\*' "$page" | tr -d '*')
}

# The page is written by people, its headings and the names of its options are the program's, in its order.
commands() {
	local page=$pages/sinewctl.1.scd line
	[[ -e $page ]] || return
	[[ -x $O/sinewctl ]] || {
		say "$page:1: nothing to compare it with: make"
		return
	}
	while read -r line; do
		case $line in
		'< '*) say "$page:1: does not tell of: ${line#< }" ;;
		'> '*) say "$page:$(grep -nxF -- "${line#> }" "$page" | head -n 1 | cut -d: -f1): tells of what is not there: ${line#> }" ;;
		esac
	done < <(diff <("$O/sinewctl" help --man | grep -E '^(## |\*-)') <(grep -E '^(## |\*-)' "$page"))
}

keys() {
	local page=$pages/sinew.yaml.5.scd name
	[[ -e $page ]] || return
	while read -r name; do
		grep -qE "\*$name\*" "$page" || say "$page:1: does not tell of the key $name"
	done < <(cat userspace/model/codec*.c | tr -d '\n\t' | grep -oE 'codec_shape shape = \{"[^}]*\}' |
		sed 's/.*{//' | grep -oE '[a-zA-Z]+' | sort -u)
}

# "outlierDetection.window" of each row of the table, in its order.
policy_keys() {
	tr '\n\t' '  ' <"$1" | grep -oE '\[POLICY_[A-Z_]+\] = \{[P"][^}]*' | tr '[]{,"=' ' ' | awk '
		$2 !~ /^POLICY_IN_/ { name[$1] = $2; up[$1] = $3; next }
		{ group[++n] = $2; key[n] = $3 }
		END {
			for (i = 1; i <= n; i++) {
				path = key[i]
				for (g = group[i]; up[g] != g; g = up[g])
					path = name[g] "." path
				print path
			}
		}'
}

policy() {
	local page=$pages/sinew.yaml.5.scd table=userspace/model/policy_field.c line
	[[ -e $page && -e $table ]] || return
	while read -r line; do
		case $line in
		'< '*) say "$page:1: does not tell of the policy's key ${line#< }, or not in the table's order" ;;
		'> '*) say "$page:1: tells of a policy's key that is not there: ${line#> }" ;;
		esac
	done < <(diff <(policy_keys "$table") \
		<(sed -n '/^# TRAFFICPOLICY/,/^# [A-SU-Z]/p' "$page" | grep -oE '^\*[a-zA-Z.]+\*' | tr -d '*'))
}

# The keys of a table of agent/config.c
table_keys() { sed -n "/^static const struct key $2\[\]/,/^};/s/^\t{\"\([^\"]*\)\",.*/\1/p" "$1"; }

# The keys that begin the lines of a section, several in a line, too
page_keys() { sed -n "/^# $2\$/,/^# /p" "$1" | grep -E '^\*[a-zA-Z.]+\*( \(|,)' | grep -oE '\*[a-zA-Z.]+\*' | tr -d '*'; }

agent_keys() {
	local page=$pages/agent.yaml.5.scd table=userspace/agent/config.c line part
	[[ -e $page && -e $table ]] || return
	for part in 'settings SETTINGS' 'keys REGISTRIES'; do
		while read -r line; do
			case $line in
			'< '*) say "$page:1: does not tell of ${line#< } under ${part#* }" ;;
			'> '*) say "$page:1: tells of ${line#> } under ${part#* }, which is not there" ;;
			esac
		done < <(diff <(table_keys "$table" "${part% *}" | sort) <(page_keys "$page" "${part#* }" | sort))
	done
}

# registry.c's kinds[] and the headings under TYPES
agent_types() {
	local page=$pages/agent.yaml.5.scd table=userspace/registry/registry.c line
	[[ -e $page && -e $table ]] || return
	while read -r line; do
		case $line in
		'< '*) say "$page:1: does not tell of the type ${line#< }" ;;
		'> '*) say "$page:1: tells of the type ${line#> }, which is not there" ;;
		esac
	done < <(diff <(sed -n '/kinds\[\] = {/,/^};/p' "$table" | grep -oE '&registry_[a-z]+' | sed 's/&registry_//' | sort) \
		<(sed -n '/^# TYPES$/,$p' "$page" | sed -n 's/^\*\([a-z]*\)\*$/\1/p' | sort))
}

lint
settings
commands
agent_keys
agent_types
keys
policy
exit $bad
