#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes that keep code readable: files, functions, parameters, nesting. WARN=1 prints the near misses.

Medians of the codebases we learn from are 12 to 18 lines per function; what is capped here is the tail.
"""
import os
import re

import source

FILE_C, FILE_H = 600, 250
FUNCTION, FUNCTION_WARN = 80, 50
HOOK, HOOK_WARN = 40, 25
PARAMETERS = 5
NESTING, NESTING_WARN = 3, 2
COLUMNS = 100
# A text for a person stays in one piece, so that it can be searched for.
TEXT_LINE = re.compile(r'^[^"]*"(?:\\.|[^"\\])+"[^"]{0,60}$')
# Signatures that a library dictates.
DICTATED = {"on_request": "libmicrohttpd's MHD_AccessHandlerCallback",
            "bpf_map_lookup_batch": "libbpf's, of which tests have a fake"}

CONTROL = {"if", "for", "while", "switch"}
TOKEN = re.compile(r"\w+|[{}();:?]|[^\s\w]")


class Nesting:
    """How deep statements lie inside control statements; `else if` is a sibling, not a child."""

    def __init__(self, body, line):
        self.tokens = []
        for number, text in enumerate(body.split("\n"), line):
            self.tokens += [(t, number) for t in TOKEN.findall(text)]
        self.i, self.deepest, self.line = 0, 0, line

    def peek(self, ahead=0):
        at = self.i + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def skip_group(self):
        """Past one (...) or {...}, the cursor being on its opening."""
        depth = 0
        while self.i < len(self.tokens):
            depth += self.peek() in "({"
            depth -= self.peek() in ")}"
            self.i += 1
            if depth == 0:
                return

    def skip_simple(self):
        """Past an expression or declaration with its initialiser."""
        while self.peek() and self.peek() != ";":
            if self.peek() in "({":
                self.skip_group()
            elif self.peek() == "}":
                return
            else:
                self.i += 1
        self.i += 1

    def is_macro_loop(self):
        """NAME(...) { or a known loop macro without braces."""
        if not re.fullmatch(r"[A-Za-z_]\w*", self.peek()) or self.peek(1) != "(":
            return False
        if re.search(r"foreach|for_each|HASH_ITER", self.peek(), re.IGNORECASE):
            return True
        at = self.i
        self.i += 1
        self.skip_group()
        braced = self.peek() == "{"
        self.i = at
        return braced

    def enter(self, depth):
        """The statement that a control statement governs."""
        if self.tokens and depth > self.deepest and self.i < len(self.tokens):
            self.deepest, self.line = depth, self.tokens[min(self.i, len(self.tokens) - 1)][1]
        self.statement(depth)

    def block(self, depth):
        self.i += 1
        while self.peek() and self.peek() != "}":
            self.statement(depth)
        self.i += 1

    def control(self, depth):
        word = self.peek()
        self.i += 1
        self.skip_group()
        self.enter(depth + 1)
        while word == "if" and self.peek() == "else":
            self.i += 1
            if self.peek() == "if":
                self.i += 1
                self.skip_group()
            self.enter(depth + 1)

    def statement(self, depth):
        word = self.peek()
        if word == "{":
            self.block(depth)
        elif word in CONTROL or self.is_macro_loop():
            self.control(depth)
        elif word == "do":
            self.i += 1
            self.enter(depth + 1)
            self.skip_simple()
        elif word in ("case", "default") or (self.peek(1) == ":" and re.fullmatch(r"\w+", word)):
            while self.peek() and self.peek() != ":":
                self.i += 1
            self.i += 1
        else:
            self.skip_simple()

    def measure(self):
        self.block(0)
        return self.deepest, self.line


class Checker:
    def __init__(self):
        self.report = source.Report()
        self.warnings = 0

    def limit(self, path, line, value, limits, text):
        """limits: (most, from where to warn)."""
        most, warn = limits
        if value > most:
            self.report.bad(path, line, f"{text}: {value}, at most {most}; split it by what its parts mean")
        elif value > warn:
            self.warnings += 1
            if os.environ.get("WARN"):
                print(f"{path}:{line}: warning: {text}: {value}")

    def function(self, path, f):
        kind, limits = ("function", (FUNCTION, FUNCTION_WARN))
        if f.is_hook:
            kind, limits = "hook", (HOOK, HOOK_WARN)
        self.limit(path, f.first, f.lines, limits, f"lines of {kind} {f.name}")
        if f.name not in DICTATED:
            self.limit(path, f.first, len(f.parameters), (PARAMETERS, PARAMETERS),
                       f"parameters of {f.name} (pass a struct)")
        depth, line = Nesting(f.body, f.body_line).measure()
        self.limit(path, line, depth, (NESTING, NESTING_WARN), f"nesting in {f.name}")

    def file(self, path):
        text = source.read(path)
        lines = text.split("\n")
        most = FILE_H if path.endswith(".h") else FILE_C
        self.limit(path, 1, len(lines) - 1, (most, most), "lines of file")
        for number, line in enumerate(lines, 1):
            if len(line.expandtabs(8)) > COLUMNS and not TEXT_LINE.match(line):
                self.report.bad(path, number, f"longer than {COLUMNS} columns")
        for f in source.functions(text):
            self.function(path, f)


def main():
    source.start()
    checker = Checker()
    for path in source.files(".c", ".h", roots=("headers", "bpf", "userspace", "tests")):
        checker.file(path)
    if checker.warnings:
        print(f"lengths: {checker.warnings} near a limit (WARN=1 tells)")
    checker.report.end()


main()
