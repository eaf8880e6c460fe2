#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, first lines and words: the conventions of CONTRIBUTING.md that a text scan can see."""
import os
import re

import source

# A public function begins with its file's name (address.c -> address_parse), a leading part of it
# (verb_get.c -> verb_...), its plural, or the room's (kernel/attach.c -> kernel_...: declared in the
# room's door kernel.h). A file whose noun has another name, or that holds two, says so here.
ALIASES = {
    "model/store.c": ["plan"],
    "model/address.c": ["prefix"],
    "model/codec.c": ["object"],
    "kernel/draft.c": ["entry"],
    "control/query.c": ["number"],
    "control/server.c": ["client"],
}
NAME_MAX = 15  # the kernel cuts names of maps and programs here
CODE_LICENSE = "GPL-2.0-or-later"
CONTRACT_LICENSE = "GPL-2.0-only OR BSD-2-Clause"
NO_LICENSE_LINE = (".json", ".digest", ".md", ".txt", ".dict")

# pattern, where (a prefix of the path), except (names of files), how to mend; over bare C
BANNED = [
    # ctx.bpf.h repeats the kernel's own atomic64_t.
    (r"\btypedef\s+(?:struct|union|enum)\b", ("",), ("ctx.bpf.h",), "no typedef of a struct: write struct x"),
    (r"\bbpf_(?:trace_)?printk\s*\(", ("bpf/", "headers/"), (), "no printing in a hook: count a reason"),
    (r"\b(?:exit|quick_exit|abort)\s*\(", ("userspace/",), ("main.c",),
     "no exit or abort outside main.c: return -errno (a forked child ends with _exit)"),
    (r"\bstrcpy\s*\((?![^;\n]*,\s*\")|\b(?:strcat|sprintf|vsprintf|gets|strtok|atoi|atol)\s*\(", ("userspace/", "tests/"), (),
     "an unbounded or unchecked call: use the bounded one"),
    (r"\b(?:system|popen)\s*\(", ("userspace/",), (), "no shell from inside a program"),
    (r"\bint\s+bpf_\w+\s*\([^;]*\)\s*\{", ("userspace/",), (), "bpf_ belongs to libbpf"),
    (r"\bif \((?:r|ret) (?:!= 0|== -1|< 0 \|\| r > 0)\)", ("userspace/",), (),
     "an int r is tested as r < 0 only"),
    (r"\bpipe\s*\(|\bdup2?\s*\([^,)]*\)|\baccept\s*\(|\bcreat\s*\(", ("userspace/",), (),
     "every descriptor is close-on-exec from birth: pipe2, dup3 or F_DUPFD_CLOEXEC, accept4, open"),
]
# over the text as it is; also in comments and documents
WORDS = [
    (re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"), "finish it or open an issue"),
    (re.compile(r"(?<![\w.])(?:\.\./shared|/work/)"), "a path of one machine"),
    (re.compile(r"https?://(?:deb\.debian|security\.debian|ftp\.[a-z]+\.debian|proxy\.golang|registry\.npmjs|"
                r"repo1?\.maven|pypi)\."), "a mirror's name: ask the system for its own"),
]
CLOEXEC = [
    (re.compile(r"\bopen(?:at)?\s*\(((?:[^()]|\([^()]*\))*)\)"), re.compile(r"O_CLOEXEC|flags")),
    (re.compile(r"\bsocket(?:pair)?\s*\(((?:[^()]|\([^()]*\))*)\)"), re.compile(r"SOCK_CLOEXEC|type")),
    (re.compile(r"\bepoll_create1\s*\(([^()]*)\)"), re.compile(r"CLOEXEC")),
]
FOPEN = re.compile(r'\b(?:fopen|freopen)\s*\([^;]*?,\s*"([^"]*)"')


def check_first_line(report, path, text):
    """SPDX first; in C a file comment second."""
    if path.endswith(NO_LICENSE_LINE) or not text:
        return
    lines = text.split("\n", 3)
    at = 1 if lines[0].startswith("#!") else 0
    if path.endswith(".scd"):  # scdoc wants its own first line
        lines, at = text.split("\n", 4), 2
    want = CONTRACT_LICENSE if path.startswith(("headers/", "bpf/")) else CODE_LICENSE
    if f"SPDX-License-Identifier: {want}" not in (lines[at] if at < len(lines) else ""):
        report.bad(path, at + 1, f"first line is not \"SPDX-License-Identifier: {want}\"")
    elif path.endswith((".c", ".h")) and (len(lines) < 3 or not lines[1].startswith("/*")):
        report.bad(path, 2, "no file comment: what it is for, what comes before and after, what it must never do")


def check_words(report, path, text):
    for pattern, mend in WORDS:
        for match in pattern.finditer(text):
            report.bad(path, source.line_of(text, match.start()), f"\"{match.group(0)}\": {mend}")


def check_comments(report, path, text):
    for match in source.TOKEN.finditer(text):
        if match.group(0).startswith("//"):
            report.bad(path, source.line_of(text, match.start()), "a // comment: use /* */ and say why")


def check_banned(report, path, bare):
    for pattern, where, but, mend in BANNED:
        if not path.startswith(where) or os.path.basename(path) in but:
            continue
        for match in re.finditer(pattern, bare):
            report.bad(path, source.line_of(bare, match.start()), f"{match.group(0).split(chr(10))[0]}: {mend}")


def check_cloexec(report, path, text, bare):
    if not path.startswith("userspace/"):
        return
    for call, good in CLOEXEC:
        for match in call.finditer(bare):
            if not good.search(match.group(1)) and "," in match.group(1):
                report.bad(path, source.line_of(bare, match.start()), "not close-on-exec from birth")
    for match in FOPEN.finditer(text):
        if "e" not in match.group(1):
            report.bad(path, source.line_of(text, match.start()), "fopen without \"e\" (close-on-exec)")


def check_functions(report, path, text):
    """Public functions of user space are named for their file."""
    room, name = path.split("/")[1:3]
    stem = name[:-2]
    parts = stem.split("_")
    prefixes = ["_".join(parts[:n]) for n in range(len(parts), 0, -1)] + [stem + "s", room]
    prefixes += ALIASES.get(f"{room}/{name}", [])
    for f in source.functions(text):
        if f.is_static or f.name in prefixes or (f.name == "main" and name == "main.c"):
            continue
        if not any(f.name.startswith(p + "_") for p in prefixes):
            report.bad(path, f.first, f"{f.name}: a public function of {name} begins with {stem}_ "
                       "(or make it static, or move it to the file of its noun)")


def check_once(report, given, path, text):
    """All of user space is one archive: of two public functions of one name a program gets whichever comes first."""
    for f in source.functions(text):
        if f.is_static or f.name == "main":
            continue
        if f.name in given:
            report.bad(path, f.first, f"{f.name}: {given[f.name]} has one, too")
        given.setdefault(f.name, path)


def check_contract_names(report, path, text):
    """Maps and programs: sn_, at most 15 characters."""
    bare = source.bare(text)
    names = [(m.start(), m.group(1)) for m in re.finditer(r"^\}\s*(\w+)\s+SEC\(", bare, re.MULTILINE)]
    names += [(m.start(), m.group(1))
              for m in re.finditer(r"^SEC\(\"[^\"]*\"\)\s*\n(?:\w+\s+)+\**(\w+)\s*\(", bare, re.MULTILINE)
              if not m.group(1).isupper()]
    names += [(m.start(), m.group(1)) for m in re.finditer(r"\bBPF_PROG\((\w+)", bare)]
    for offset, name in names:
        line = source.line_of(bare, offset)
        if len(name) > NAME_MAX:
            report.bad(path, line, f"{name}: {len(name)} characters, the kernel cuts at {NAME_MAX}")
        if not name.startswith("sn_"):
            report.bad(path, line, f"{name}: maps and programs begin with sn_")


def check_contract_types(report, path, text):
    """headers/: fixed widths only, sizes asserted."""
    bare = source.bare(text)
    for match in re.finditer(r"^struct (sn_\w+) \{(.*?)^\}", bare, re.MULTILINE | re.DOTALL):
        line = source.line_of(bare, match.start())
        if not re.search(rf"SN_LAYOUT\(struct {match.group(1)},", bare):
            report.bad(path, line, f"struct {match.group(1)} has no SN_LAYOUT(...) under it")
        for field in match.group(2).split(";"):
            field = " ".join(field.split())
            if field and not re.match(r"(?:__u(?:8|16|32|64)|__s(?:8|16|32|64)|__be(?:16|32|64)|struct sn_\w+) \w+"
                                      r"(?:\[\w+\])*$", field):
                report.bad(path, line, f"\"{field}\": the contract holds fixed-width integers and structs of them only")
            if re.match(r"__be", field) and not re.search(r"_be(?:\[\w+\])?$", field):
                report.bad(path, line, f"\"{field}\": network byte order is said in the name: ..._be")


def main():
    source.start()
    report, given = source.Report(), {}
    for path in source.files():
        if path.endswith((".pyc", ".xml", ".png")):
            continue
        text = source.read(path)
        check_first_line(report, path, text)
        if path != "tests/check/names.py" and not path.startswith("tests/check/selftest"):
            check_words(report, path, text)
        if not path.endswith((".c", ".h")):
            continue
        bare = source.bare(text)
        check_comments(report, path, text)
        check_banned(report, path, bare)
        check_cloexec(report, path, text, bare)
        if path.endswith(".h") and "\n#pragma once\n" not in text:
            report.bad(path, 1, "a header without #pragma once")
        if path.startswith("userspace/") and path.endswith(".c"):
            check_functions(report, path, text)
            check_once(report, given, path, text)
        if path.startswith("bpf/"):
            check_contract_names(report, path, text)
        if path.startswith("headers/"):
            check_contract_types(report, path, text)
    for path in ("README.md", "CONTRIBUTING.md", "Makefile"):
        if os.path.exists(path):
            check_words(report, path, source.read(path))
    report.end()


main()
