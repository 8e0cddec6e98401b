#!/usr/bin/python3
"""Copies a source with one mistake put into it: OLD, which stands there once, becomes NEW.

usage: mutate.py SOURCE OUT OLD NEW
"""

import pathlib
import sys


def main(source, out, old, new):
    text = pathlib.Path(source).read_text()
    if text.count(old) != 1:
        sys.exit(f"{source} has {text.count(old)} times, and not once: {old}")
    line = text[: text.index(old)].count("\n") + 1
    print(f"{source}:{line}: {old} -> {new}")
    pathlib.Path(out).write_text(text.replace(old, new))


if __name__ == "__main__":
    main(*sys.argv[1:])
