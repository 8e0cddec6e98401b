"""The names of the fail points, read from the one list of them: proto/failpoint.h."""

import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[2] / "proto" / "failpoint.h"


def names(table):
    text = HEADER.read_text()
    body = re.search(rf"#define VOW_FAILPOINT_{table}_TABLE\(X\) \\\n((?:.*\\\n)*.*\n)", text)[1]
    return re.findall(r'X\("([\w.]+)"', body)


COORDINATOR = names("COORDINATOR")
PARTICIPANT = names("PARTICIPANT")
assert len(COORDINATOR) > 5 and len(PARTICIPANT) > 5
