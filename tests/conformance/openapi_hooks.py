"""Hooks of schemathesis: requests are generated freely, but nothing leaves this machine, nothing is
written outside the test's folder, and half of the ids are those of transactions that exist."""

import itertools
import os
import re

import schemathesis
from schemathesis.generation import DataGenerationMethod
from schemathesis.types import NotSet

# Where generated branches live: nothing listens there, so that prepare fails at once.
NOWHERE = "http://127.0.0.1:1/generated"
UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")
BACKUPS = os.environ["VOW_BACKUP_FOLDER"]
IDS = os.environ.get("VOW_IDS", "").split()
numbers = itertools.count()


def tame_branch(branch):
    """A URL that vowd would accept, and so call, becomes one of ours; what it must refuse stays."""
    url = branch.get("url") if isinstance(branch, dict) else None
    if isinstance(url, str) and url.lower().startswith(("http://", "https://")):
        branch["url"] = NOWHERE


def in_batch(body):
    messages = body.get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def is_position(seen):
    """It would be taken, whatever else stands in it."""
    names = ("incarnation", "position")
    return isinstance(seen, dict) and all(isinstance(seen.get(name), int) for name in names)


def tame(path, body):
    if path == "/v1/backup" and str(body.get("path", "")).startswith("/"):
        body["path"] = f"{BACKUPS}/{next(numbers)}"
    if path == "/v1/transactions" and isinstance(body.get("branches"), list):
        for branch in body["branches"]:
            tame_branch(branch)
    if path.endswith("/branches"):
        tame_branch(body)
    if path == "/v1/outcomes" and is_position(body.get("seen")):
        del body["seen"]  # a log that was seen elsewhere goes into quarantine, and that is for good
    for message in [body, *in_batch(body)]:
        if str(message.get("coordinator", "")).lower().startswith("http"):
            message["coordinator"] = NOWHERE


@schemathesis.hook
def before_call(context, case):
    if isinstance(case.body, dict):
        tame(case.operation.path, case.body)
    if case.operation.path.endswith("/outcome") and "seen" in (case.query or {}):
        if re.search(r"\d\.\d", str(case.query["seen"])):
            del case.query["seen"]
    id = (case.path_parameters or {}).get("id")
    number = next(numbers)
    if IDS and number % 2 and isinstance(id, str) and UUID.match(id):
        case.path_parameters["id"] = IDS[number // 2 % len(IDS)]


@schemathesis.hook
def after_call(context, case, response):
    """JSON is UTF-8 (RFC 8259); without this the tool guesses."""
    response.encoding = "utf-8"


@schemathesis.check
def wrong_bodies_are_refused(ctx, response, case):
    """The tool's own check takes a header that nobody reads, and "false" for a boolean in a query,
    for wrong data. Bodies have types, so there it is right. In a batch each message is judged by
    itself."""
    wrong = case.meta is not None and case.meta.body is DataGenerationMethod.negative
    if not wrong or isinstance(case.body, NotSet) or response.status_code >= 400:
        return
    replies = response.json().get("replies", []) if case.operation.path == "/batch" else []
    if all(reply["status"] < 400 for reply in replies):
        raise AssertionError(f"a wrong body was accepted: {case.body!r:.300}")
