#!/usr/bin/python3
"""A fuzzer can fail: it finds a seeded mistake within a bound, and the input that shows it is no
failure of the program without the mistake.

usage: check_mutant.py MUTANT ORIGINAL SECONDS ARGUMENT...
"""

import pathlib
import subprocess
import sys
import tempfile
import time


def main(mutant, original, seconds, *arguments):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as found:
        began = time.monotonic()
        bounds = ["-seed=1", f"-max_total_time={seconds}", "-timeout=20", "-max_len=2048"]
        # What is new goes into the first folder, and must not stay for the next run to begin with.
        command = [mutant, *bounds, f"-artifact_prefix={folder}/", found, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        crashes = list(pathlib.Path(folder).iterdir())
        if done.returncode == 0 or len(crashes) != 1:
            print(done.stderr[-3000:])
            sys.exit(f"the mistake was not found within {seconds} s")
        print(f"found after {time.monotonic() - began:.1f} s: {crashes[0].name}")
        said = [line for line in done.stderr.split("\n") if "must hold" in line or "ssert" in line]
        print("\n".join(said))
        command = [original, crashes[0]]
        again = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if again.returncode != 0:
            print(again.stderr[-3000:])
            sys.exit("the input fails without the mistake, too")


if __name__ == "__main__":
    main(*sys.argv[1:])
