#!/usr/bin/python3
"""Debian's own tools over the tree: clang-format and clang-tidy over C, shellcheck over shell
scripts.

usage: check_tools.py format ROOT | tidy ROOT BUILD [JOBS [NODES]] | shell ROOT | --self-test
"""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

SOURCE_FOLDERS = ("proto", "coordinator", "participant-sdk", "tests")
ANALYZER = ("-Xclang", "-analyzer-config", "-Xclang")


def run(*command):
    """What a tool says against its arguments, or nothing."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def c_files(root):
    return [path for folder in SOURCE_FOLDERS for path in sorted((root / folder).rglob("*.[ch]"))]


def check_format(root):
    files = c_files(root)
    if not files:
        return f"no C files in {root}"
    return run("clang-format", "--dry-run", "-Werror", f"--style=file:{root}/.clang-format", *files)


def tidy_one(root, build, source, nodes):
    # NODES: how far the analyzer follows the paths of a function, 0: as far as it does by itself.
    bound = [f"--extra-arg={word}" for word in ANALYZER] + [f"--extra-arg=max-nodes={nodes}"]
    return run(
        "clang-tidy",
        "--quiet",
        "--extra-arg=-Wno-unknown-warning-option",
        *(bound if nodes else []),
        f"--config-file={root}/.clang-tidy",
        "-p",
        build,
        source,
    )


def check_tidy(root, build, jobs, nodes=0):
    """Every source of the product, and of the bench, that this build compiles, in parallel."""
    commands = json.loads((build / "compile_commands.json").read_text())
    folders = [root / folder for folder in SOURCE_FOLDERS if folder != "tests"]
    folders.append(root / "tests" / "bench")
    sources = sorted(
        {
            entry["file"]
            for entry in commands
            if entry["file"].endswith(".c")
            and any(folder in pathlib.Path(entry["file"]).parents for folder in folders)
        }
    )
    if not sources:
        return f"{build}/compile_commands.json names no source of {root}"
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        said = pool.map(lambda source: tidy_one(root, build, source, nodes), sources)
    return "\n".join(filter(None, said))


def check_shell(root):
    scripts = [
        path
        for path in [*root.glob("tests/**/*.sh"), *root.glob("deploy/**/*.sh"), root / ".ci/run"]
        if path.is_file()
    ]
    if not scripts:
        return f"no shell scripts in {root}"
    syntax = "\n".join(filter(None, (run("bash", "-n", script) for script in scripts)))
    return syntax or run("shellcheck", *scripts)


def self_test(root):
    """Each tool objects to a sample that is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        sample = pathlib.Path(folder)
        (sample / "proto").mkdir()
        (sample / "tests").mkdir()
        (sample / ".clang-format").write_text((root / ".clang-format").read_text())
        (sample / ".clang-tidy").write_text((root / ".clang-tidy").read_text())
        source = sample / "proto" / "a.c"
        source.write_text("int f( int a ){return a ;}\n")
        if not check_format(sample):
            yield "bad layout was not noticed"
        source.write_text("int f(int *p) {\n  if (!p) return *p;\n  return 0;\n}\n")
        command = {"directory": folder, "file": str(source), "command": f"gcc -c {source}"}
        (sample / "compile_commands.json").write_text(json.dumps([command]))
        if not check_tidy(sample, sample, 1, 75000):
            yield "a NULL pointer that is read was not noticed"
        (sample / "tests" / "a.sh").write_text("#!/bin/bash\nif true; then\n")
        if not check_shell(sample):
            yield "a script that does not parse was not noticed"
        (sample / "tests" / "a.sh").write_text('#!/bin/bash\nrm -rf "$1/"*\ncd $1\n')
        if not check_shell(sample):
            yield "an unquoted variable was not noticed"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--self-test"]:
            said = "\n".join(self_test(pathlib.Path(__file__).resolve().parents[2]))
        case ["format", root]:
            said = check_format(pathlib.Path(root).resolve())
        case ["tidy", root, build, *numbers]:
            numbers = [int(number) for number in numbers] or [2]
            said = check_tidy(pathlib.Path(root).resolve(), pathlib.Path(build).resolve(), *numbers)
        case ["shell", root]:
            said = check_shell(pathlib.Path(root).resolve())
        case _:
            sys.exit(__doc__)
    print(said or "no complaints")
    sys.exit(1 if said else 0)
