"""What the source checks share: reading the tree, printing findings, and proving that a check can
fail.

A check is a function from {path: text} to findings (path, line, message). It lists samples that
must be found guilty and one that must not be; `--self-test` runs it on those instead of the tree.
"""

import pathlib
import sys

FOLDERS = ("proto", "coordinator", "participant-sdk", "tests", "deploy", ".ci")
SUFFIXES = {
    ".c",
    ".h",
    ".py",
    ".sh",
    ".txt",
    ".md",
    ".yaml",
    ".service",
    ".conf",
    ".in",
    ".pml",
    ".ini",
}


def read_tree(root):
    """The project's own text files, by path relative to the root."""
    root = pathlib.Path(root)
    files = [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    files += [path for path in root.glob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(files)
        if path.is_file()
        and (path.suffix in SUFFIXES or path.name == "run")
        and "__pycache__" not in path.parts
    }


def self_test(checks):
    """Each check must find its guilty samples guilty and its innocent sample innocent."""
    failures = []
    for check in checks:
        for number, sample in enumerate(check.guilty):
            if not list(check(sample)):
                failures.append(
                    f"{check.__name__}: guilty sample {number} was not noticed: {sample}"
                )
        found = list(check(check.innocent))
        if found:
            failures.append(f"{check.__name__}: the innocent sample was blamed: {found}")
    return failures


def main(checks, usage):
    if len(sys.argv) != 2:
        sys.exit(usage)
    if sys.argv[1] == "--self-test":
        failures = self_test(checks)
        print("\n".join(failures) or f"{len(checks)} checks can fail")
        sys.exit(1 if failures else 0)
    files = read_tree(sys.argv[1])
    if not files:
        sys.exit(f"nothing to check in {sys.argv[1]}")
    findings = [(check.__name__, *finding) for check in checks for finding in check(files)]
    for name, path, line, message in findings:
        print(f"{path}:{line}: {message} [{name}]")
    print(f"{len(files)} files, {len(findings)} findings")
    sys.exit(1 if findings else 0)
