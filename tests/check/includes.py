#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may include whom, so that the tree shows which way data flows. CONTRIBUTING.md has the list."""
import re

import source

# room of userspace/ -> rooms it may name
ROOMS = {
    "base": {"base"},
    "model": {"base", "model"},
    "manifest": {"base", "model", "manifest"},
    "control": {"base", "model", "control"},
    "kernel": {"base", "model", "kernel"},
    "daemon": {"base", "model", "kernel", "control", "daemon"},
    "ctl": {"base", "model", "manifest", "ctl"},
    "net": {"base", "net"},
    # a folder of manifests is a registry, too, and so is the DNS, which is asked as for names of others
    "registry": {"base", "model", "manifest", "net", "dns", "registry"},
    # the other direction: what listens here, written into registries
    "register": {"base", "model", "net", "registry", "register"},
    "dns": {"base", "model", "dns"},
    "export": {"base", "model", "export"},
    "agent": {"base", "model", "manifest", "net", "registry", "register", "dns", "export", "agent"},
}
# library header -> rooms that may see it; a header not listed is the C library's or the kernel's
LIBRARIES = {
    r"bpf/.*|linux/bpf\.h|linux/btf\.h|libelf\.h|gelf\.h": {"kernel"},
    r"yyjson\.h": {"base", "model", "manifest", "control", "daemon", "ctl", "registry", "register", "export", "agent"},
    r"libfyaml\.h": {"base", "manifest", "daemon"},
    r"uv\.h": {"control", "daemon", "net", "registry", "register", "dns", "export", "agent"},
    r"microhttpd\.h": {"control", "export"},
    r"curl/.*": {"base", "net"},
    r"ldns/.*": {"dns", "registry"},
    r"cap-ng\.h|seccomp\.h": {"daemon", "agent"},
    r"sinew/.*": {"model", "manifest", "control", "kernel", "daemon", "ctl", "registry", "register", "dns", "agent"},
}
# generated files -> the one room that may see them
GENERATED = {"sinew.skel.h": "kernel", "openapi.inc": "control", "revision.h": "base"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(path):
    text = source.read(path)
    commentless = re.sub(r"/\*.*?\*/", lambda m: source.blank(m.group(0)), text, flags=re.DOTALL)
    for match in INCLUDE.finditer(commentless):
        yield source.line_of(text, match.start(2)), match.group(1), match.group(2)


def check_headers(report):
    for path in source.files(".h", roots=("headers",)):
        for line, kind, name in includes(path):
            if kind != "<" or not (name == "linux/types.h" or name.startswith("sinew/")):
                report.bad(path, line, f"the contract includes {name}; only <linux/types.h> and <sinew/...>")


def check_bpf(report):
    for path in source.files(".c", ".h", roots=("bpf",)):
        for line, kind, name in includes(path):
            system = re.match(r"sinew/|linux/|bpf/bpf_", name)
            if (kind == "<") != bool(system):
                report.bad(path, line, f"bpf/ may see headers/, bpf/, <linux/*> and <bpf/bpf_*.h>, not {name}")


def check_stage(report):
    """A stage knows its maps, its knobs and other stages; tests compile it for user space, where there is no context
    and no packet."""
    for path in source.files(".h", roots=("bpf/stage",)):
        for line, kind, name in includes(path):
            if kind == '"' and not re.match(r"stage/|maps\.bpf\.h$|knobs\.bpf\.h$", name):
                report.bad(path, line, f"a stage may see stages, maps.bpf.h and knobs.bpf.h, not {name}: no context, "
                           "no packet; the hook fetches what it needs")


def check_examples(report):
    """What a person copies into a program of their own."""
    for path in source.files(".c", ".h", roots=("examples",)):
        for line, kind, name in includes(path):
            if kind == '"' or name.startswith("sinew/"):
                report.bad(path, line, f"an example stands alone: libc only, not {name}")


def check_quoted(report, path, line, room, name):
    if name in GENERATED:
        if GENERATED[name] != room:
            report.bad(path, line, f"only {GENERATED[name]}/ may see {name}")
        return
    other = name.split("/")[0]
    if "/" not in name or other not in ROOMS:
        report.bad(path, line, f'write "{name}" as "room/file.h", or <...> if it is not ours')
    elif other not in ROOMS[room]:
        allowed = ", ".join(sorted(ROOMS[room]))
        report.bad(path, line, f"{room}/ may include {allowed}; not {other}/: turn the call round or move the noun")


def check_userspace(report):
    for path in source.files(".c", ".h", roots=("userspace",)):
        room = path.split("/")[1]
        libraries = set()
        if room not in ROOMS:
            report.bad(path, 1, f"unknown room {room}/: name it and what it may include in tests/check/includes.py")
            continue
        for line, kind, name in includes(path):
            if kind == '"':
                check_quoted(report, path, line, room, name)
                continue
            for pattern, rooms in LIBRARIES.items():
                if not re.fullmatch(pattern, name):
                    continue
                libraries.add(pattern)
                if room not in rooms:
                    report.bad(path, line, f"<{name}> belongs to {', '.join(sorted(rooms))}; not to {room}/")
        if room == "base" and len(libraries) > 1:
            report.bad(path, 1, "a file of base/ stands round one library; split it")


def main():
    source.start()
    report = source.Report()
    check_headers(report)
    check_bpf(report)
    check_stage(report)
    check_examples(report)
    check_userspace(report)
    report.end()


main()
