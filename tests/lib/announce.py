"""What a nightly run is going to do, from `ctest --show-only=json-v1` on standard input: its tests
with the label nightly, how long each may take, and how much it does. The argument says how many run
at once."""

import json
import re
import sys

# The words of a command or an environment that say how much.
AMOUNT = re.compile(
    r"(?:--(?:seeds|images|group) |-max_total_time=|VOW_ROUNDS=|VOW_BANK_CYCLES_DEFAULT="
    r"|VOW_MEMORY_POINTS_DEFAULT=)\S+"
)


def main():
    jobs, most, lines = int(sys.argv[1]), 0, []
    tests = json.load(sys.stdin)["tests"]
    for test in tests:
        properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
        seconds = properties.get("TIMEOUT", 0)
        most += seconds * min(jobs, properties.get("PROCESSORS", 1)) / jobs
        if "nightly" in properties.get("LABELS", []):
            words = " ".join([*test["command"], *properties.get("ENVIRONMENT", [])])
            amount = " ".join(AMOUNT.findall(words))
            lines.append(f"{seconds / 60:8.0f} min  {test['name']:36} {amount}".rstrip())
    print(f"{len(tests)} tests. These {len(lines)} are nightly; each is ended after its time:")
    print("\n".join(sorted(lines, reverse=True)))
    print(f"With {jobs} at once the whole ends within {most / 3600:.1f} hours.", flush=True)


main()
