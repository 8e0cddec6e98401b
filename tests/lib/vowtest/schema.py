"""Holds answers against proto/openapi/vow.yaml: status, content type and body must be
documented."""

import functools
import pathlib
import re

import jsonschema
import yaml

OPENAPI = pathlib.Path(__file__).resolve().parents[3] / "proto" / "openapi" / "vow.yaml"


@functools.cache
def document():
    return yaml.safe_load(OPENAPI.read_text())


@functools.cache
def routes():
    """[(pattern, path as documented)], fixed paths before those with parameters."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path) for path in paths]


def find_route(path):
    path = path.partition("?")[0]
    return next((name for pattern, name in routes() if pattern.match(path)), None)


@functools.cache
def operation(path, method):
    return document()["paths"][path].get(method.lower())


def resolve(node):
    """The node itself, or what its $ref points to."""
    while isinstance(node, dict) and "$ref" in node:
        target = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


@functools.cache
def bodies(path, method, status):
    """The documented bodies of an answer, by their type; none: it has no body."""
    responses = operation(path, method)["responses"]
    response = resolve(
        responses.get(str(status), responses.get(f"{status // 100}XX", responses.get("default")))
    )
    assert response is not None, f"{method} {path} is not documented to answer {status}"
    return response.get("content", {})


@functools.cache
def validator(path, method, status, kind):
    """The validator of one documented body; None where the document gives no schema."""
    content = bodies(path, method, status)
    assert kind in content, f"{method} {path} {status} is not documented to be {kind}"
    schema = content[kind].get("schema")
    if schema is None:
        return None
    # The whole document goes along, so that its "#/components/…" references resolve.
    return jsonschema.Draft202012Validator(
        {**schema, "components": document().get("components", {})}
    )


def check_answer(method, path, answer):
    """Fails when the answer is not what the OpenAPI file promises for this route."""
    route = find_route(path)
    if route is None or operation(route, method) is None:
        return
    if not answer.text:
        kinds = list(bodies(route, method, answer.status))
        assert not kinds, f"{method} {path} {answer.status} has no body, and not {kinds}"
        return
    # Every route has these two, and the file says so once.
    if (answer.json or {}).get("type") in ("urn:vow:route-not-found", "urn:vow:method-not-allowed"):
        return
    check = validator(route, method, answer.status, answer.headers.get_content_type())
    if check is not None:
        body = answer.json if answer.json is not None else answer.text
        errors = [error.message for error in check.iter_errors(body)]
        assert not errors, f"{method} {path} {answer.status}: {errors[:3]} in {answer.text[:600]}"
