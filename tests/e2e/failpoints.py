"""The fail points, read from the one list of them: proto/failpoint.h. `…_ERRORS` are those at which
a step can fail."""

import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[2] / "proto" / "failpoint.h"


def names(table):
    text = HEADER.read_text()
    body = re.search(rf"#define VOW_FAILPOINT_{table}_TABLE\(X\) \\\n((?:.*\\\n)*.*\n)", text)[1]
    rows = re.findall(r'X\("([\w.]+)",\s+"[^"]*",[\s\\]+"([^"]*)"\)', body)
    assert len(rows) == body.count("X("), "a row was not understood"
    return [name for name, _ in rows], [name for name, error in rows if error]


COORDINATOR, COORDINATOR_ERRORS = names("COORDINATOR")
PARTICIPANT, PARTICIPANT_ERRORS = names("PARTICIPANT")
assert len(COORDINATOR) > 5 and len(PARTICIPANT) > 5
