"""The API described: OpenAPI as JSON, and a page of it that needs no script."""

import functools
from typing import Any

from starlette.responses import JSONResponse, Response

from sinks.console.asked import Asked


@functools.cache
def _described() -> dict[str, Any]:
    from sinks.console.api import api  # the API is made of pages, and this is one

    return api().openapi()


def document(asked: Asked) -> Response:
    """OpenAPI 3.1."""
    del asked
    return JSONResponse(_described())


def page(asked: Asked) -> Response:
    """The same for people."""
    described = _described()
    listed = [
        (path, operation, _fields(described, operation))
        for path, methods in described["paths"].items()
        for operation in methods.values()
    ]
    base = asked.parts.settings.console.public_url.rstrip("/") or str(asked.request.base_url).rstrip("/")
    return asked.page(
        "openapi.html", active="account", about=described["info"]["description"], operations=listed, base=base,
        server=described["servers"][0]["url"],
    )  # fmt: skip


def _fields(described: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """Fields of what an operation answers."""
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    name = str(schema.get("$ref") or schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
    fields: dict[str, Any] = described["components"]["schemas"].get(name, {}).get("properties", {})
    return {
        field: one.get("type") or "/".join(str(part.get("type")) for part in one.get("anyOf", [])) or "object"
        for field, one in fields.items()
    }
