#!/usr/bin/python3
"""Includes point one way: proto <- core <- io <- main, api and ctl. Coordinator and SDK meet only
in proto, and each third-party header is included by one .c file a side.

usage: check_layers.py ROOT | --self-test
"""

import pathlib
import re

from findings import main

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)

# (folder, name of the side, height). The first folder that holds a file gives it its place.
PLACES = (
    ("proto/include/vow", "proto", 0),
    ("proto", "proto", 1),
    ("coordinator/core", "coordinator", 2),
    ("coordinator/io", "coordinator", 3),
    ("coordinator/ctl", "coordinator ctl", 5),
    ("coordinator", "coordinator", 4),
    ("participant-sdk/include/vow", "sdk", 1),
    ("participant-sdk/core", "sdk", 2),
    ("participant-sdk/io", "sdk", 3),
    ("participant-sdk/resources", "sdk", 4),
    ("participant-sdk/examples", "example", 9),
    ("participant-sdk", "sdk", 5),
)

# Whom a side may include, besides itself.
MAY_USE = {
    "proto": (),
    "coordinator": ("proto",),
    "coordinator ctl": ("proto", "coordinator"),
    "sdk": ("proto",),
    "example": ("proto", "sdk"),
}

# A header of somebody else's, and the files that may include it: `name*.c` stands for name.c and
# the name_<part>.c that share name_internal.h with it.
OWNERS = {
    "microhttpd.h": (
        r"coordinator/io/server(_\w+)?\.[ch]",
        r"participant-sdk/io/server(_\w+)?\.[ch]",
        r"participant-sdk/examples/mounted\.c",
    ),
    "curl/curl.h": (r"coordinator/io/sender(_\w+)?\.[ch]", r"participant-sdk/io/http(_\w+)?\.[ch]"),
    "sqlite3.h": (
        r"coordinator/io/log(_\w+)?\.[ch]",
        r"participant-sdk/io/log(_\w+)?\.[ch]",
        r"participant-sdk/resources/\w+\.[ch]",
        r"participant-sdk/examples/\w+\.c",
    ),
    "uv.h": (r"coordinator/io/\w+\.[ch]", r"coordinator/ctl/\w+\.[ch]", r"coordinator/\w+\.[ch]"),
    "ini.h": (r"coordinator/config(_\w+)?\.c", r"participant-sdk/examples/\w+\.c"),
    "xxhash.h": (
        r"coordinator/io/\w+\.c",
        r"participant-sdk/io/\w+\.c",
        r"participant-sdk/resources/\w+\.c",
    ),
}

# System headers that bring I/O, clocks, threads or randomness.
IMPURE = re.compile(
    r"^(sys/(?!types\.h)|arpa/|net/|netinet/|time\.h|unistd\.h|fcntl\.h|poll\.h|pthread\.h"
    r"|signal\.h|threads\.h"
    r"|stdatomic\.h|syslog\.h|locale\.h|setjmp\.h|uv\.h|sqlite3\.h|microhttpd\.h|curl/)"
)
PURE_FOLDERS = ("coordinator/core/", "participant-sdk/core/")


def place(path):
    for folder, side, height in PLACES:
        if path.startswith(folder + "/"):
            return side, height
    return None


def includes(files):
    """(path, line, header) of every include of the product's C files."""
    for path, text in files.items():
        if path.endswith((".c", ".h", ".h.in")) and place(path):
            for match in INCLUDE.finditer(text):
                yield path, text.count("\n", 0, match.start(1)) + 1, match.group(1)


def resolve(files, path, header):
    """The file of ours that an include names: beside the includer first, then by the end of its
    path."""
    beside = str(pathlib.PurePosixPath(path).parent / header)
    if beside in files:
        return beside
    side = place(path)[0]
    hits = [name for name in files if name.endswith("/" + header) and place(name)]
    hits.sort(key=lambda name: (place(name)[0] != side, len(name)))
    return hits[0] if hits else None


def arrows(files):
    for path, line, header in includes(files):
        target = resolve(files, path, header)
        if not target:
            continue
        (side, height), (other, other_height) = place(path), place(target)
        if other != side and other not in MAY_USE[side]:
            yield path, line, f"{side} includes {target} of {other}: they meet only in proto/"
        elif other_height > height:
            yield path, line, f"includes {target}, which lies above it"


def owners(files):
    for path, line, header in includes(files):
        if header in OWNERS and not any(re.fullmatch(owner, path) for owner in OWNERS[header]):
            yield path, line, f"<{header}> is included only by {' '.join(OWNERS[header])}"


def purity(files):
    for path, line, header in includes(files):
        if path.startswith(PURE_FOLDERS) and IMPURE.match(header):
            yield path, line, f"a core does no I/O and knows no clock or thread: <{header}>"


def public_headers(files):
    """What applications see: the standard library and vow's own public headers."""
    for path, line, header in includes(files):
        if "/include/vow/" in path and not re.fullmatch(r"vow/\w+\.h|std\w+\.h", header):
            yield path, line, f"a public header includes <vow/…> and std….h only: {header}"


def examples(files):
    """What an example includes of vow is what an application can include."""
    for path, line, header in includes(files):
        target = resolve(files, path, header)
        beside = (
            target and pathlib.PurePosixPath(target).parent == pathlib.PurePosixPath(path).parent
        )
        if place(path)[0] == "example" and target and not beside and "/include/vow/" not in target:
            yield path, line, f"an example uses the public headers only: {header}"


arrows.guilty = [
    {"coordinator/core/core.c": '#include "log.h"', "coordinator/io/log.h": ""},
    {"coordinator/io/log.c": '#include "api/api.h"', "coordinator/api/api.h": ""},
    {"proto/json.c": '#include "core/core.h"', "coordinator/core/core.h": ""},
    {"coordinator/io/log.c": '#include "vow/client.h"', "participant-sdk/include/vow/client.h": ""},
    {"participant-sdk/io/log.c": '#include "core/txn.h"', "coordinator/core/txn.h": ""},
    {
        "participant-sdk/io/log.c": '#include "resources/sqlite.h"',
        "participant-sdk/resources/sqlite.h": "",
    },
    {"coordinator/main.c": '#include "ctl/table.h"', "coordinator/ctl/table.h": ""},
]
arrows.innocent = {
    "coordinator/io/log.c": '#include "log.h"\n#include "core/core.h"\n#include "buf.h"',
    "coordinator/io/log.h": "",
    "coordinator/core/core.h": "",
    "participant-sdk/core/core.h": "",
    "participant-sdk/io/log.h": "",
    "proto/buf.h": "",
}
owners.guilty = [
    {"proto/message.c": "#include <uv.h>"},
    {"coordinator/io/loop.c": "#include <microhttpd.h>"},
    {"coordinator/io/server.c": "#include <curl/curl.h>"},
    {"coordinator/ctl/offline.c": "#include <sqlite3.h>"},
    {"participant-sdk/io/server.c": "#include <uv.h>"},
]
owners.innocent = {
    "coordinator/io/log_query.c": "#include <sqlite3.h>",
    "participant-sdk/resources/sqlite.c": "#include <sqlite3.h>",
}
purity.guilty = [
    {"coordinator/core/core.c": "#include <time.h>"},
    {"participant-sdk/core/core.c": "#include <sys/socket.h>"},
]
purity.innocent = {
    "coordinator/core/core.c": "#include <string.h>",
    "coordinator/io/log.c": "#include <time.h>",
}
public_headers.guilty = [{"participant-sdk/include/vow/sqlite.h": "#include <sqlite3.h>"}]
public_headers.innocent = {
    "participant-sdk/include/vow/sqlite.h": "#include <stddef.h>\n#include <vow/types.h>"
}
examples.guilty = [{"participant-sdk/examples/bank.c": '#include "json.h"', "proto/json.h": ""}]
examples.innocent = {
    "participant-sdk/examples/bank.c": '#include <vow/client.h>\n#include "accounts.h"',
    "participant-sdk/examples/accounts.h": "",
    "participant-sdk/include/vow/client.h": "",
}

if __name__ == "__main__":
    main([arrows, owners, purity, public_headers, examples], __doc__)
