#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A checker that passes everything is worse than none: each rule is shown a small tree that breaks it
# and must name the file and line; a tree that keeps every rule must pass.
# shellcheck disable=SC2016 # backquotes are Markdown here
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0

gpl='/* SPDX-License-Identifier: GPL-2.0-or-later */'
both='/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */'

# put PATH: standard input after the lines that every file has
put() {
	mkdir -p "$root/$(dirname "$1")"
	{
		case $1 in
		headers/*.h | bpf/*.h) printf '%s\n/* For the self-test. */\n#pragma once\n' "$both" ;;
		bpf/*) printf '%s\n/* For the self-test. */\n' "$both" ;;
		*.h) printf '%s\n/* For the self-test. */\n#pragma once\n' "$gpl" ;;
		*.c) printf '%s\n/* For the self-test. */\n' "$gpl" ;;
		esac
		cat
	} >"$root/$1"
}

fresh() {
	rm -rf "${root:?}"/*
	mkdir -p "$root/tests/check"
	cp "$here/../../.clang-format" "$root/"
	put headers/sinew/abi.h <<'X'

#include <linux/types.h>

#define SN_ABI_VERSION 1u
#define SN_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " is not " #bytes)

struct sn_thing {
	__u32 a;
	__be16 port_be;
	__u16 pad;
};
SN_LAYOUT(struct sn_thing, 8);
X
	put userspace/model/thing.c <<'X'
int thing_add(int a, int b);

int thing_add(int a, int b)
{
	return a + b;
}
X
}

# checker "NAME [VERB]": over the small tree
checker() {
	local words
	read -r -a words <<<"$1"
	"$here/${words[0]}" "${words[@]:1}" "$root"
}

# expect CHECKER REGEX: it fails and says so
expect() {
	local out
	if out=$(checker "$1" 2>&1); then
		echo "tests/check/${1%% *}:1: passed what breaks its rule: $2"
		failed=1
	elif ! grep -Eq -- "$2" <<<"$out"; then
		echo "tests/check/${1%% *}:1: did not say \"$2\" but: ${out%%$'\n'*}"
		failed=1
	fi
}

# bad CHECKER REGEX PATH: standard input as PATH in a fresh tree must be refused
bad() {
	fresh
	put "$3"
	expect "$1" "$2"
}

passes() {
	local out
	out=$(checker "$1" 2>&1) || {
		echo "tests/check/${1%% *}:1: refused a tree that keeps its rule: ${out%%$'\n'*}"
		failed=1
	}
}

lines() { for ((i = 0; i < $1; i++)); do echo "$2"; done; }

fresh
"$here/format.sh" "$root" >/dev/null
[[ $? == 77 ]] && format='' || format=format.sh
for checker in $format includes.py names.py lengths.py; do passes "$checker"; done

[[ -z $format ]] || bad format.sh 'thing.c:[0-9]+: not as' userspace/model/thing.c <<<'int  thing_add(int a) { return a; }'

bad includes.py 'service.h:[0-9]+: the contract includes stdint.h' headers/sinew/service.h <<<'#include <stdint.h>'
bad includes.py 'model/ may include base, model; not kernel/' userspace/model/a.c <<<'#include "kernel/pin.h"'
bad includes.py 'control/ may include .*; not kernel/' userspace/control/a.c <<<'#include "kernel/pin.h"'
bad includes.py 'not control/' userspace/kernel/a.c <<<'#include "control/ops.h"'
bad includes.py 'not kernel/' userspace/ctl/a.c <<<'#include "kernel/kernel.h"'
bad includes.py 'belongs to kernel; not to daemon/' userspace/daemon/a.c <<<'#include <bpf/libbpf.h>'
bad includes.py 'not to base/' userspace/base/a.c <<<'#include <sinew/abi.h>'
bad includes.py 'stands round one library' userspace/base/a.c <<<$'#include <curl/curl.h>\n#include <yyjson.h>'
bad includes.py 'unknown room' userspace/attic/a.c <<<'#include <stdint.h>'
bad includes.py 'bpf/ may see' bpf/stage/a.h <<<'#include <stdio.h>'
bad includes.py 'a stage may see stages' bpf/stage/a.h <<<'#include "ctx.bpf.h"'
bad includes.py 'an example stands alone' examples/a.c <<<'#include <sinew/report.h>'
bad includes.py 'only kernel/ may see sinew.skel.h' userspace/daemon/a.c <<<'#include "sinew.skel.h"'

bad names.py 'a.c:3: .*no typedef' userspace/base/a.c <<<$'typedef struct a {\n\tint b;\n} a;'
bad names.py 'a.c:3: a // comment' userspace/base/a.c <<<'int a; // a note'
bad names.py 'a public function of thing.c begins with thing_' userspace/model/thing.c <<<$'int other_add(int a)\n{\n\treturn a;\n}'
bad names.py 'no printing in a hook' bpf/hook/a.bpf.c <<<'int a = bpf_printk("x");'
bad names.py 'sn_getpeername46: 16 characters' bpf/hook/a.bpf.c <<<$'SEC("cgroup/getpeername4")\nint sn_getpeername46(void *ctx)\n{\n\treturn 1;\n}'
bad names.py 'begin with sn_' bpf/maps.bpf.h <<<$'struct {\n\t__u32 a;\n} things SEC(".maps");'
bad names.py 'no exit or abort' userspace/base/a.c <<<$'void a(void)\n{\n\tabort();\n}'
bad names.py 'unbounded' userspace/base/a.c <<<$'void a(char *b, char *c)\n{\n\tstrcpy(b, c);\n}'
bad names.py 'no shell from inside' userspace/base/a.c <<<$'void a(void)\n{\n\tsystem("ls");\n}'
bad names.py 'close-on-exec from birth' userspace/base/a.c <<<$'int a(void)\n{\n\treturn open("x", O_RDONLY);\n}'
bad names.py 'close-on-exec' userspace/base/a.c <<<$'int a(void)\n{\n\treturn fopen("x", "r") != 0;\n}'
bad names.py 'finish it or open an issue' userspace/base/a.c <<<'/* TO''DO */'
bad names.py 'has no SN_LAYOUT' headers/sinew/a.h <<<$'struct sn_a {\n\t__u32 b;\n};'
bad names.py 'fixed-width' headers/sinew/a.h <<<$'struct sn_a {\n\tint b;\n};\nSN_LAYOUT(struct sn_a, 4);'
bad names.py 'said in the name' headers/sinew/a.h <<<$'struct sn_a {\n\t__be32 b;\n};\nSN_LAYOUT(struct sn_a, 4);'
fresh
for room in base model; do
	put "userspace/$room/thing.c" <<<$'int thing_add(int a)\n{\n\treturn a;\n}'
done
expect names.py 'thing_add: userspace/base/thing.c has one, too'
fresh
printf 'int a;\n' >"$root/userspace/model/a.c"
expect names.py 'a.c:1: first line is not "SPDX'
printf '%s\nint a;\n' "$gpl" >"$root/userspace/model/a.c"
expect names.py 'a.c:2: no file comment'
printf '%s\n/* x */\nint a;\n' "$gpl" >"$root/userspace/model/a.h"
expect names.py 'a.h:1: a header without #pragma once'

bad lengths.py 'lines of function thing_add: 8[0-9], at most 80' userspace/model/thing.c < <(
	printf 'int thing_add(int a)\n{\n' && lines 80 $'\ta++;' && printf '\treturn a;\n}\n')
bad lengths.py 'lines of hook sn_connect4: .*at most 40' bpf/hook/a.bpf.c < <(
	printf 'SEC("cgroup/connect4")\nint sn_connect4(void *ctx)\n{\n' && lines 40 $'\tx++;' && echo '}')
bad lengths.py 'lines of file: .*at most 600' userspace/model/thing.c < <(lines 600 'int a;')
bad lengths.py 'lines of file: .*at most 250' bpf/stage/a.h < <(lines 250 'int a;')
bad lengths.py 'parameters of thing_add.*: 6, at most 5' userspace/model/thing.c <<<$'int thing_add(int a, int b, int c, int d, int e, int f)\n{\n\treturn a;\n}'
bad lengths.py 'nesting in thing_add: 4, at most 3' userspace/model/thing.c <<<$'int thing_add(int a)\n{\n\tfor (;;)\n\t\twhile (a)\n\t\t\tif (a) {\n\t\t\t\tif (a)\n\t\t\t\t\treturn 1;\n\t\t\t}\n}'
bad lengths.py 'longer than 100 columns' userspace/model/thing.c < <(printf '/* %0120d */\n' 0)
fresh
put userspace/model/thing.c <<<$'int thing_add(int a)\n{\n\tif (a == 1)\n\t\treturn 1;\n\telse if (a == 2)\n\t\treturn 2;\n\telse if (a == 3)\n\t\treturn 3;\n\telse if (a == 4)\n\t\treturn 4;\n\treturn 0;\n}'
passes lengths.py

fresh
printf 'all: ## x\n' >"$root/Makefile"
printf '`make all`\n## What does not work yet\nscripts/later\n' >"$root/README.md"
passes docs.sh
printf '`scripts/none`\n' >"$root/README.md"
expect docs.sh 'README.md:1: names scripts/none'
printf '`make none`\n' >"$root/README.md"
expect docs.sh 'README.md:1: names make none'
printf '## What does not work yet\n`make all`\n' >"$root/README.md"
expect docs.sh 'README.md:2: says that make all does not work yet'
mkdir -p "$root/tests/peers/build"
printf '# x\nconsul 1.2.3 Consul\n' >"$root/tests/peers/build/versions"
printf '| Real server or client | Version |\n| --- | --- |\n| Consul | 1.2.3 |\n' >"$root/README.md"
passes docs.sh
printf '| Real server or client | Version |\n| --- | --- |\n| Consul | 1.2.4 |\n' >"$root/README.md"
expect docs.sh 'README.md: the table of real servers and .* disagree: Consul 1.2.3'

# The program is the real one where it is built: only the page of the small tree is wrong.
fresh
mkdir -p "$root/userspace/man" "$root/build/man"
real=${O:-build}
export O=build
printf '#!/bin/sh\necho "## get NOUN"; echo "*-o*, *--output* _FORMAT_"; echo "text"\n' >"$root/build/sinewctl"
chmod +x "$root/build/sinewctl"
page=$root/userspace/man/sinewctl.1.scd
printf 'sinewctl(1)\n\n# NAME\n\nx - y\n\n## get NOUN\n\n*-o*, *--output* _FORMAT_\n' >"$page"
printf '.TH "sinewctl" "1" "2026-01-01"\n.SH NAME\nx \\- y\n' >"$root/build/man/sinewctl.1"
passes man.sh
echo '*-x*, *--gone*' >>"$page"
expect man.sh 'sinewctl.1.scd:10: tells of what is not there: \*-x\*'
sed -i '/--gone/d; /--output/d' "$page"
expect man.sh 'does not tell of: \*-o\*, \*--output\*'
printf '.TH x 1\n.SH NAME\n\\[x\\] - y\n' >"$root/build/man/sinewctl.1"
expect man.sh 'sinewctl.1.scd: of the page made of it, line 3'
printf 'static const struct codec_shape shape = {\n\t"Service.spec", {"address",\n\t\t"weight"}, 2};\n' >"$root/userspace/model/codec.c"
printf '*address*\n' >"$root/userspace/man/sinew.yaml.5.scd"
expect man.sh 'does not tell of the key weight'
printf '\t[POLICY_X] = {POLICY_IN_A, "x", 1},\n\t[POLICY_Y] = {POLICY_IN_B,\n\t"y"},\n[POLICY_IN_A] = {"a", POLICY_IN_A},\n[POLICY_IN_B] = {"b", POLICY_IN_A}' >"$root/userspace/model/policy_field.c"
printf '# TRAFFICPOLICY\n\n*x* (1)\n*b.z* (2)\n' >>"$root/userspace/man/sinew.yaml.5.scd"
expect man.sh "policy's key b.y"
expect man.sh 'not there: b.z'
mkdir -p "$root/userspace/daemon"
printf '{"log.level", "SINEWD_LOG_LEVEL"}\n' >"$root/userspace/daemon/setting.c"
printf '*log.form* (auto)\n' >"$root/userspace/man/sinewd.8.scd"
expect man.sh 'does not tell of the setting log.level'
expect man.sh 'tells of the setting log.form, which does not exist'
rm "$root/userspace/man/sinewd.8.scd"
put userspace/agent/config.c <<<$'static const struct key settings[] = {\n\t{"coalesce", 1},\n};\nstatic const struct key keys[] = {\n\t{"name", 1},\n};'
printf '# SETTINGS\n\n*coalesc* (1)\n\n# REGISTRIES\n\n*name*, *zone* (x)\n\n# TYPES\n\n*files*\n' >"$root/userspace/man/agent.yaml.5.scd"
expect man.sh 'does not tell of coalesce under SETTINGS'
expect man.sh 'tells of coalesc under SETTINGS, which is not there'
expect man.sh 'tells of zone under REGISTRIES, which is not there'
put userspace/registry/registry.c <<<$'static const struct registry_kind *const kinds[] = {\n\t&registry_srv, &registry_etcd,\n\tNULL,\n};'
expect man.sh 'does not tell of the type srv'
expect man.sh 'does not tell of the type etcd'
expect man.sh 'tells of the type files, which is not there'
O=$real

# A padded key loads without complaint and misses every look-up.
bad 'layout.py check' 'padding' headers/sinew/a.h <<<$'#include <sinew/abi.h>\nstruct sn_a {\n\t__u8 b;\n\t__u32 c;\n};'
# The same number with another layout; the object is the real one, so only the headers differ.
if [[ -e ${O:-build}/gen/sinew.bpf.o ]]; then
	fresh
	"$here/abi.sh" --update "$root" || failed=1
	passes abi.sh
	sed -i 's/__u32 a;/__u32 other;/' "$root/headers/sinew/abi.h"
	expect abi.sh 'raise SN_ABI_VERSION'
	sed -i 's/SN_ABI_VERSION 1u/SN_ABI_VERSION 2u/' "$root/headers/sinew/abi.h"
	expect abi.sh 'is of ABI 1, headers/ say 2'
	"$here/abi.sh" --update "$root" || failed=1
	passes abi.sh
	fresh
	put headers/sinew/flow.h <<<$'#include <sinew/abi.h>\nstruct sn_flow {\n\t__u64 cookie;\n};'
	expect 'layout.py check' 'struct sn_flow differs from the one inside'
fi
exit $failed
