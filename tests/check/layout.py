#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One layout for the kernel programs and user space, and a digest of it that guards the ABI number.

Before it: clang compiles every struct of headers/ for BPF, with BTF. Then
  layout.py check    gcc's and clang's -Wpadded, gcc's sizes and offsets against clang's BTF, and the
                     structs inside the linked object against the same
  layout.py digest   compares (--update: writes) tests/check/abi.digest, "ABI n sha256", made of structs,
                     enumerations and maps: a change of layout without a new number fails
Environment: O (build folder), CC, CLANG, BPFTOOL. Argument after the verb: the tree.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

import source

CC = os.environ.get("CC", "gcc").split()
CLANG = os.environ.get("CLANG", "clang")
BPFTOOL = os.environ.get("BPFTOOL") or next(
    (p for p in ("/usr/sbin/bpftool", "/sbin/bpftool") if os.path.exists(p)), "bpftool")
DIGEST = "tests/check/abi.digest"
report = source.Report()


def run(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def headers():
    return source.files(".h", roots=("headers",))


def all_of_headers():
    """C that uses every struct and enumeration of the contract, and where each struct is written."""
    text, places = "", {}
    for path in headers():
        body = source.read(path)
        text += f'#include <{path[len("headers/"):]}>\n'
        for match in re.finditer(r"^(struct|enum) (sn_\w+) \{", source.bare(body), re.MULTILINE):
            places[match.group(2)] = (path, source.line_of(body, match.start()))
            text += f"{match.group(1)} {match.group(2)} use_{match.group(2)};\n"
    return text, places


def multiarch():
    _, out, _ = run(["gcc", "-print-multiarch"])
    folder = f"/usr/include/{out.strip()}"
    return ["-isystem", folder] if out.strip() and os.path.isdir(folder) else []


def show_compiler(errors, what):
    for line in errors.splitlines():
        match = re.match(r"([^:\s]+):(\d+):(?:\d+:)? (?:error|warning): (.*)", line)
        if match:
            report.bad(match.group(1), match.group(2), f"{what}: {match.group(3)}")


class Types:
    """The types of one BTF, by name."""

    def __init__(self, path):
        status, out, err = run([BPFTOOL, "-j", "btf", "dump", "file", path])
        if status:
            raise SystemExit(f"layout: bpftool cannot read {path}: {err.strip()}")
        self.by_id = {t["id"]: t for t in json.loads(out)["types"]}

    def named(self, kind):
        return {t["name"]: t for t in self.by_id.values()
                if t["kind"] == kind and t["name"].startswith("sn_") and "members" in t or
                t["kind"] == kind == "ENUM" and t["name"].startswith("sn_")}

    def name(self, number):
        """A type as text, through typedefs to the integer or struct below."""
        t = self.by_id.get(number)
        if t is None:
            return "void"
        if t["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
            # __be16 and __u16 are one layout; the name keeps the byte order in the digest.
            return t["name"] if t["name"].startswith("__") else self.name(t["type_id"])
        if t["kind"] == "ARRAY":
            return f'{self.name(t["type_id"])}[{t["nr_elems"]}]'
        if t["kind"] == "PTR":
            return self.name(t["type_id"]) + "*"
        return f'{t["kind"].lower()} {t["name"]}' if t["kind"] in ("STRUCT", "ENUM") else t["name"]

    def structs(self):
        """name -> lines"""
        found = {}
        for name, t in self.named("STRUCT").items():
            found[name] = [f'struct {name} {t["size"]}'] + [
                f'\t{m["bits_offset"] // 8} {m["name"]} {self.name(m["type_id"])}' for m in t["members"]]
        return found

    def enums(self):
        found = {}
        for name, t in self.named("ENUM").items():
            found[name] = [f"enum {name}"] + [f'\t{v["name"]} {v["val"]}' for v in t["values"]]
        return found

    def maps(self):
        """name -> one line; from the .maps section's variables"""
        section = next((t for t in self.by_id.values() if t["kind"] == "DATASEC" and t["name"] == ".maps"), None)
        found = {}
        for variable in section["vars"] if section else []:
            variable = self.by_id[variable["type_id"]]
            fields = []
            for member in self.by_id[variable["type_id"]]["members"]:
                below = self.by_id[self.by_id[member["type_id"]]["type_id"]]
                value = below["nr_elems"] if below["kind"] == "ARRAY" else self.name(below["id"])
                fields.append(f'{member["name"]}={value}')
            found[variable["name"]] = [f'map {variable["name"]} ' + " ".join(sorted(fields))]
        return found


def compile_contract(folder):
    """The BTF of all of headers/, as clang sees it for BPF."""
    text, places = all_of_headers()
    path, made = os.path.join(folder, "contract.c"), os.path.join(folder, "contract.o")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    status, _, err = run([CLANG, "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-std=gnu11", "-Wpadded", "-Werror",
                          "-Iheaders", *multiarch(), "-c", path, "-o", made])
    if status:
        show_compiler(err, "clang -target bpf")
        report.n += 1
        report.end()
    return Types(made), places, path


def check_gcc(types, places, path, folder):
    """gcc must agree with every size and offset that clang wrote down."""
    status, _, err = run([*CC, "-std=gnu11", "-Wpadded", "-Werror", "-Iheaders", "-fsyntax-only", path])
    if status:
        show_compiler(err, "gcc -Wpadded")
    text = source.read(path) + "#include <stddef.h>\n"
    for name, t in types.named("STRUCT").items():
        where = "{}:{}".format(*places.get(name, ("headers", 1)))
        text += f'_Static_assert(sizeof(struct {name}) == {t["size"]}, "{where}: struct {name}: size");\n'
        for m in t["members"]:
            text += (f'_Static_assert(offsetof(struct {name}, {m["name"]}) == {m["bits_offset"] // 8}, '
                     f'"{where}: struct {name}.{m["name"]}: offset");\n')
    compared = os.path.join(folder, "compared.c")
    with open(compared, "w", encoding="utf-8") as f:
        f.write(text)
    status, _, err = run([*CC, "-std=gnu11", "-Iheaders", "-fsyntax-only", compared])
    for match in re.finditer(r'static assertion failed: "([^:]+):(\d+): ([^"]*)"', err):
        report.bad(match.group(1), match.group(2), f"gcc and clang -target bpf differ: {match.group(3)}")
    if status and not report.n:
        report.bad("headers", 1, err.splitlines()[0])


def check_object(types, places):
    """The linked programs were built from these headers."""
    path = os.path.join(os.environ.get("O", "build"), "gen/sinew.bpf.o")
    if not os.path.exists(path):
        report.bad(path, 1, "not there: make")
        return
    mine, theirs = types.structs(), Types(path).structs()
    both = sorted(mine.keys() & theirs.keys())
    for name in both:
        if mine[name] != theirs[name]:
            report.bad(*places[name], f"struct {name} differs from the one inside {path}: make")
    if not both:
        report.bad(path, 1, "holds no struct of headers/: is it built with -g?")


def digest(types):
    """ABI number and digest of everything that a pinned map or a reader depends on."""
    linked = Types(os.path.join(os.environ.get("O", "build"), "gen/sinew.bpf.o"))
    lines = []
    for group in (types.structs(), types.enums(), linked.maps()):
        for name in sorted(group):
            lines += group[name]
    number = re.search(r"#define SN_ABI_VERSION (\d+)u?", source.read("headers/sinew/abi.h")).group(1)
    return number, hashlib.sha256("\n".join(lines).encode()).hexdigest(), lines


def check_digest(types, update):
    number, sha, lines = digest(types)
    if update:
        with open(DIGEST, "w", encoding="utf-8") as f:
            f.write(f"ABI {number} {sha}\n" + "\n".join(lines) + "\n")
        return
    if not os.path.exists(DIGEST):
        report.bad(DIGEST, 1, "not there: make abi-digest")
        return
    written = source.read(DIGEST).split("\n")
    word, old_number, old_sha = (written[0].split() + ["", "", ""])[:3]
    if word != "ABI" or (old_number, old_sha) == (number, sha):
        if word != "ABI":
            report.bad(DIGEST, 1, "first line is not \"ABI number sha256\"")
        return
    changed = [l for l in lines if l not in written] + [l for l in written[1:] if l and l not in lines]
    what = "; ".join(" ".join(l.split()) for l in changed[:4]) or "order"
    if old_number == number:
        report.bad("headers/sinew/abi.h", 1, f"a layout changed under ABI {number} ({what}): raise SN_ABI_VERSION, "
                   "then make abi-digest")
    else:
        report.bad(DIGEST, 1, f"is of ABI {old_number}, headers/ say {number}: make abi-digest")


def main():
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    rest = [a for a in sys.argv[2:] if a != "--update"]
    build = os.path.abspath(os.environ.get("O", "build"))
    os.environ["O"] = build
    sys.argv[1:] = rest
    source.start()
    with tempfile.TemporaryDirectory() as folder:
        types, places, path = compile_contract(folder)
        if verb == "check":
            check_gcc(types, places, path, folder)
            check_object(types, places)
        elif verb == "digest":
            check_digest(types, "--update" in os.environ.get("LAYOUT_FLAGS", ""))
        else:
            raise SystemExit("layout.py check|digest [TREE]")
    report.end()


main()
