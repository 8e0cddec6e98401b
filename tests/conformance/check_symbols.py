#!/usr/bin/python3
"""What object files admit to: the cores call nothing that does I/O, reads a clock or draws lots,
and keep no state of their own; libvow exports exactly what its public headers declare.

usage: check_symbols.py --core ROOT | --exports ROOT LIBRARY | --self-test
"""

import pathlib
import re
import subprocess
import sys
import tempfile

CORE_FOLDERS = ("coordinator/core", "participant-sdk/core")
CORE_INCLUDES = (
    "proto",
    "proto/include",
    "coordinator",
    "coordinator/core",
    "participant-sdk",
    "participant-sdk/core",
    "participant-sdk/include",
)
# What a pure state machine may ask of the C library: memory and strings. The files of a core share
# what begins with `core_`.
PURE = re.compile(
    r"^(vow_\w+|core_\w+|mem\w+|str\w+|stpcpy|malloc|calloc|realloc|reallocarray|free|qsort|bsearch"
    r"|abs|abort|v?snprintf|__\w+_chk|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$"
)
IMPURE = re.compile(
    r"^(strftime\w*|strerror\w*|__v?f?printf_chk|__syslog_chk|__read_chk|__open_chk)$"
)


def symbols(path, *options):
    """(kind, name) of each symbol; kinds as nm prints them."""
    output = subprocess.run(
        ["nm", *options, str(path)], check=True, capture_output=True, text=True
    ).stdout
    for line in output.splitlines():
        fields = line.split()
        if len(fields) >= 2:
            yield fields[-2], fields[-1].split("@")[0]


def compile_object(source, target, includes):
    subprocess.run(
        [
            "gcc",
            "-std=gnu11",
            "-O1",
            "-fno-pie",
            "-D_GNU_SOURCE",
            '-DVOW_VERSION="check"',
            "-c",
            *[f"-I{path}" for path in includes],
            "-o",
            str(target),
            str(source),
        ],
        check=True,
    )


def core_findings(source, includes):
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "core.o"
        compile_object(source, target, includes)
        for kind, name in symbols(target):
            if kind == "U" and (not PURE.match(name) or IMPURE.match(name)):
                yield f"{source}: calls {name}: a core does no I/O and knows no clock"
            elif kind in "dDbBC":
                yield f"{source}: keeps the variable {name}: a core has no state of its own"


def check_core(root):
    root = pathlib.Path(root)
    sources = [source for folder in CORE_FOLDERS for source in sorted((root / folder).glob("*.c"))]
    if not sources:
        yield f"no cores in {root}"
    for source in sources:
        yield from core_findings(source, [root / folder for folder in CORE_INCLUDES])


def declared(text):
    """The functions that a public header declares VOW_PUBLIC."""
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for match in re.finditer(r"^VOW_PUBLIC\b([^;]*);", code, flags=re.M):
        name = re.search(r"(\w+)\s*\(", match.group(1))
        if name:
            yield name.group(1)


def export_findings(exported, public):
    """libvow.so and the headers say the same."""
    for name in sorted(exported - public):
        yield f"libvow exports {name}, which no public header declares"
    for name in sorted(public - exported):
        yield f"{name} is declared in a public header and not exported by libvow"
    for name in sorted(exported):
        if not name.startswith("vow_"):
            yield f"libvow exports {name}, which does not begin with vow_"


def check_exports(root, library):
    headers = [
        *pathlib.Path(root).glob("proto/include/vow/*.h"),
        *pathlib.Path(root).glob("participant-sdk/include/vow/*.h"),
    ]
    public = {name for header in headers for name in declared(header.read_text())}
    # Sanitizers and coverage put marks of their own into a shared object.
    ours = {
        name
        for kind, name in symbols(library, "-D", "--defined-only")
        if kind != "A" and not re.match(r"^(__(asan|ubsan|tsan|odr_asan|gcov)|_init$|_fini$)", name)
    }
    if not ours:
        yield f"{library} exports nothing"
    yield from export_findings(ours, public)


def self_test():
    samples = {
        "clock": "#include <time.h>\nlong f(void) { return time(0); }",
        "print": '#include <stdio.h>\nvoid f(void) { puts("x"); }',
        "lots": "#include <stdlib.h>\nint f(void) { return rand(); }",
        "state": "static int n; int f(void) { return n++; }",
    }
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "sample.c"
        for name, text in samples.items():
            source.write_text(text)
            if not list(core_findings(source, [])):
                yield f"{name} was not noticed"
        source.write_text(
            "#include <string.h>\nstatic const int t[] = {1};\n"
            "int f(const char *s) { return (int)strlen(s) + t[0]; }"
        )
        yield from core_findings(source, [])
    if list(
        declared("VOW_PUBLIC const char *vow_a(int b)\n  __attribute__((x));\nint c(void);")
    ) != ["vow_a"]:
        yield "declarations are misread"
    if len(list(export_findings({"vow_a", "b"}, {"vow_a", "vow_c"}))) != 3:
        yield "an undeclared, a missing or a foreign export was not noticed"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--self-test"]:
            failures = list(self_test())
        case ["--core", root]:
            failures = list(check_core(root))
        case ["--exports", root, library]:
            failures = list(check_exports(root, library))
        case _:
            sys.exit(__doc__)
    print("\n".join(failures) or "no findings")
    sys.exit(1 if failures else 0)
