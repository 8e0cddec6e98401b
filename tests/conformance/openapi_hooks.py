"""Hooks of schemathesis: requests are generated freely, but nothing leaves this machine and nothing
is written outside the test's folder."""

import os

import schemathesis

# Where generated branches live: nothing listens there, so that prepare fails at once.
NOWHERE = "http://127.0.0.1:1/generated"


def tame_branch(branch):
    """A URL that vowd would accept, and so call, becomes one of ours; what it must refuse stays."""
    url = branch.get("url") if isinstance(branch, dict) else None
    if isinstance(url, str) and url.lower().startswith(("http://", "https://")):
        branch["url"] = NOWHERE


def tame(path, body):
    if not isinstance(body, dict):
        return body
    if path == "/v1/backup" and str(body.get("path", "")).startswith("/"):
        name = "".join(c if c.isalnum() else "_" for c in body["path"])[:60]
        body["path"] = os.path.join(
            os.environ["VOW_BACKUP_FOLDER"], f"{abs(hash(body['path']))}{name}"
        )
    if path == "/v1/transactions" and isinstance(body.get("branches"), list):
        for branch in body["branches"]:
            tame_branch(branch)
    if path.endswith("/branches"):
        tame_branch(body)
    if "coordinator" in body and str(body["coordinator"]).lower().startswith("http"):
        body["coordinator"] = NOWHERE
    return body


@schemathesis.hook
def map_body(context, body):
    return tame(context.operation.path, body)
