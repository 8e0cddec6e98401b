#!/usr/bin/python3
"""Each public header compiles alone, as C99 and as C++11, without a warning.

usage: check_headers.py ROOT | --self-test
"""

import pathlib
import subprocess
import sys
import tempfile

COMPILERS = (
    ("gcc", "-x", "c", "-std=c99"),
    ("g++", "-x", "c++", "-std=c++11"),
)
STRICT = ("-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
INCLUDE_FOLDERS = ("proto/include", "participant-sdk/include")


def complaints(header, include_folders):
    """What the compilers say of a file that has nothing but this include, twice."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "alone"
        source.write_text(f'#include "{header}"\n#include "{header}"\nint vow_nothing;\n')
        for compiler in COMPILERS:
            includes = [f"-I{path}" for path in include_folders]
            run = subprocess.run(
                [*compiler, *STRICT, *includes, str(source)], capture_output=True, text=True
            )
            if run.returncode:
                yield f"{header} does not compile alone with {' '.join(compiler)}:\n{run.stderr}"


def check(root):
    folders = [pathlib.Path(root).resolve() / folder for folder in INCLUDE_FOLDERS]
    headers = [header for folder in folders for header in sorted(folder.glob("vow/*.h"))]
    if not headers:
        yield f"no public headers in {root}"
    for header in headers:
        yield from complaints(header, folders)


def self_test():
    """A header that leans on another, one that is C only, and one without a guard are found."""
    samples = {
        "leans.h": "size_t f(void);\n",
        "c_only.h": "int f(int class);\n",
        "no_guard.h": "struct a { int b; };\n",
        "gnu.h": "int f(void) { return ({ 1; }); }\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in samples.items():
            header = pathlib.Path(folder) / name
            header.write_text(text)
            if not list(complaints(header, [folder])):
                yield f"{name} was not noticed"
        good = pathlib.Path(folder) / "good.h"
        good.write_text("#ifndef A\n#define A\n#include <stddef.h>\nsize_t f(void);\n#endif\n")
        yield from complaints(good, [folder])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    failures = list(self_test() if sys.argv[1] == "--self-test" else check(sys.argv[1]))
    print("\n".join(failures) or "no complaints")
    sys.exit(1 if failures else 0)
