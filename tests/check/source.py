# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree as the checkers see it: which files there are, and C without its comments and strings.

For names.py, lengths.py and includes.py. Not a C parser: it relies on the layout that format.sh has
checked (a function's braces stand alone in the first column). Must never write anything.
"""
import os
import re
import sys

ROOTS = ("headers", "bpf", "userspace", "tests", "examples", "scripts", "deploy", ".ci")
SKIPPED = {"__pycache__", "corpus", ".pytest_cache", "build"}


class Report:
    """Violations, one line each; the exit status says whether there were any."""

    def __init__(self):
        self.n = 0

    def bad(self, path, line, text):
        self.n += 1
        print(f"{path}:{line}: {text}")

    def end(self):
        sys.exit(1 if self.n else 0)


def start():
    """Goes to the tree that is to be checked: the first argument, else this file's own."""
    here = os.path.dirname(os.path.abspath(__file__))
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", ".."))


def files(*suffixes, roots=ROOTS):
    """Paths below the roots, sorted; all suffixes if none is named."""
    found = []
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(d for d in folders if d not in SKIPPED)
            found += [os.path.join(folder, n) for n in names if not suffixes or n.endswith(suffixes)]
    return sorted(p for p in found if not os.path.islink(p))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def blank(text):
    """The text's line breaks, everything else a blank."""
    return re.sub(r"[^\n]", " ", text)


def bare(text):
    """C with comments blanked and the inside of strings emptied, every line where it was."""
    def replace(match):
        token = match.group(0)
        if token[0] == "/":
            return blank(token)
        return token[0] + " " * (len(token) - 2) + token[-1]
    return TOKEN.sub(replace, text)


def without_directives(text):
    """Bare C with preprocessor lines blanked, continuations too."""
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: blank(m.group(0)), text,
                  flags=re.MULTILINE)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def split_arguments(text):
    """Top-level parts between commas."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += c in "([{"
        depth -= c in ")]}"
        if c == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    return [p for p in parts + [part.strip()] if p]


class Function:
    """A function's definition: where, how it is declared, and its body in bare C."""

    def __init__(self, header, first, last, body, body_line):
        self.first, self.last, self.body, self.body_line = first, last, body, body_line
        self.lines = last - first + 1
        self.is_hook = bool(re.search(r"\bSEC\s*\(", header))
        plain = re.sub(r'\b(?:SEC|__attribute__|_cleanup_)\s*\((?:[^()]|\([^()]*\))*\)+', " ", header)
        self.is_static = bool(re.search(r"\bstatic\b", plain))
        match = re.search(r"(\w+)\s*\((.*)\)\s*$", plain.strip(), re.DOTALL)
        # BPF_PROG(name, args...) and its kin name the function inside.
        self.name = match.group(1) if match else "?"
        arguments = split_arguments(match.group(2)) if match else []
        if self.name.isupper() and arguments:
            self.name, arguments = arguments[0], arguments[1:]
        elif match:
            name = re.match(r".*?\b(\w+)\s*\(", plain.strip(), re.DOTALL)
            self.name = name.group(1)
            arguments = split_arguments(plain.strip()[name.end():].rstrip()[:-1])
        self.parameters = [] if arguments == ["void"] else [a for a in arguments if a != "..."]


def functions(text):
    """All function definitions of a file, by the layout that clang-format gives them."""
    lines = without_directives(bare(text)).split("\n")
    found, i = [], 0
    while i < len(lines):
        if lines[i].rstrip() != "{":
            i += 1
            continue
        first = i
        while first > 0 and lines[first - 1].strip() and not re.search(r"[;}]\s*$", lines[first - 1]):
            first -= 1
        last = i
        while last < len(lines) and not lines[last].startswith("}"):
            last += 1
        header = "\n".join(lines[first:i])
        if "(" in header and first < i:
            body = "\n".join(lines[i:last + 1])
            found.append(Function(header, first + 1, last + 1, body, i + 1))
        i = last + 1
    return found
