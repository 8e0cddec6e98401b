#!/usr/bin/python3
"""Sizes, names and words: what clang-format cannot see.

usage: check_style.py ROOT | --self-test
"""

import re

from findings import main

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
WIDTH_MAX = 100

CODE = (".c", ".h")
# Marks of unfinished work, spelled so that this file does not contain them.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
CATCH_ALL = re.compile(r"(^|/)(util|utils|misc|helpers|common)(/|\.[ch]$)")


def code_lines(files, suffixes=CODE):
    for path, text in files.items():
        if path.endswith(suffixes):
            yield path, text.split("\n")


def file_length(files):
    for path, lines in code_lines(files, (".c", ".h", ".py", ".sh")):
        if len(lines) - 1 > FILE_LINES_MAX:
            yield path, len(lines) - 1, f"{len(lines) - 1} lines; a file stops at {FILE_LINES_MAX}"


def function_length(files):
    """A function opens with a line at the margin that ends in `) {` and closes with `}` at the
    margin."""
    for path, lines in code_lines(files):
        opened = None
        for number, line in enumerate(lines, 1):
            if re.search(r"\)\s*\{$", line) and not line.startswith(("}", "#")) and opened is None:
                start = number
                while start > 1 and lines[start - 1].startswith(" "):
                    start -= 1
                opened = start
            elif line == "}" and opened is not None:
                length = number - opened + 1
                if length > FUNCTION_LINES_MAX:
                    yield path, opened, f"{length} lines; a function stops at {FUNCTION_LINES_MAX}"
                opened = None


def width(files):
    for path, lines in code_lines(files, (*CODE, ".py", ".sh")):
        allowed = False
        for number, line in enumerate(lines, 1):
            # A table that clang-format is told to leave alone may be as wide as its rows.
            if "clang-format off" in line or "clang-format on" in line:
                allowed = "clang-format off" in line
            if len(line) > WIDTH_MAX and not allowed:
                yield path, number, f"{len(line)} columns; a line stops at {WIDTH_MAX}"


def catch_all_names(files):
    for path in files:
        if CATCH_ALL.search(path):
            yield path, 1, "a name that says nothing of what is inside"


def unfinished(files):
    for path, lines in code_lines(files, (*CODE, ".py", ".sh", ".txt", ".yaml", "run")):
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                yield path, number, "a mark of unfinished work"


def opening_comment(files):
    """A file opens with its purpose."""
    for path, lines in code_lines(files):
        if not lines[0].startswith("/*"):
            yield path, 1, "does not open with a comment that says what it is for"


def backward_goto(files):
    """goto only goes forward, to one label at the end."""
    for path, lines in code_lines(files):
        labels = {}
        for number, line in enumerate(lines, 1):
            if line == "}":
                labels = {}
            label = re.match(r"^\s{0,4}(\w+):$", line)
            if label and label.group(1) != "default":
                labels[label.group(1)] = number
            jump = re.search(r"\bgoto (\w+);", line)
            if jump and jump.group(1) in labels:
                yield path, number, f"goto {jump.group(1)} goes backward"


LONG_FUNCTION = "/* */\nint f(int a) {\n" + "  a++;\n" * FUNCTION_LINES_MAX + "}\n"
WRAPPED_LONG_FUNCTION = (
    "/* */\nint f(int a,\n      int b) {\n" + "  a++;\n" * (FUNCTION_LINES_MAX - 2) + "}\n"
)
SHORT_FUNCTION = "/* */\nint f(int a) {\n" + "  a++;\n" * (FUNCTION_LINES_MAX - 2) + "}\n"

file_length.guilty = [{"proto/a.c": "x\n" * (FILE_LINES_MAX + 1)}]
file_length.innocent = {"proto/a.c": "x\n" * FILE_LINES_MAX, "proto/README.md": "x\n" * 9999}
function_length.guilty = [{"proto/a.c": LONG_FUNCTION}, {"proto/a.c": WRAPPED_LONG_FUNCTION}]
function_length.innocent = {
    "proto/a.c": SHORT_FUNCTION,
    "proto/b.c": "struct x {\n" + "  int a;\n" * 99 + "};\n",
}
width.guilty = [{"proto/a.h": "/* " + "x" * WIDTH_MAX + " */"}]
width.innocent = {"proto/a.h": "x" * WIDTH_MAX + "\n/* clang-format off */\n" + "x" * 200}
catch_all_names.guilty = [{"coordinator/utils/a.c": ""}, {"proto/misc.c": ""}]
catch_all_names.innocent = {"coordinator/io/log.c": ""}
unfinished.guilty = [{"proto/a.c": "/* TO" + "DO: more */"}, {"tests/run.sh": "# FIX" + "ME"}]
unfinished.innocent = {"proto/a.c": "/* to do or not */"}
opening_comment.guilty = [{"proto/a.c": "#include <stdio.h>\n"}]
opening_comment.innocent = {"proto/a.c": "/* What it is. */\n"}
backward_goto.guilty = [{"proto/a.c": "/* */\nint f(void) {\nagain:\n  goto again;\n}\n"}]
backward_goto.innocent = {
    "proto/a.c": "/* */\nint f(void) {\n  goto out;\nout:\n  return 0;\n}\n"
    "int g(void) {\n  goto out;\n"
}

if __name__ == "__main__":
    main(
        [
            file_length,
            function_length,
            width,
            catch_all_names,
            unfinished,
            opening_comment,
            backward_goto,
        ],
        __doc__,
    )
