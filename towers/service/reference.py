"""`/docs`: the endpoints as a plain page, made of OpenAPI; FastAPI's own pages load their scripts from another host."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def reference_page(openapi: Mapping[str, Any]) -> str:
    """HTML without scripts or styles: every endpoint, its parameters and the fields of its body."""
    title = escape(openapi["info"]["title"])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}: endpoints</title><link rel=icon href=static/icon.svg type=image/svg+xml>"
        f"<h1>{title}: endpoints</h1>"
        "<p>Answers are JSON; what is wrong with a request is said as <code>{&quot;error&quot;: ...}</code>. "
        "For programs: <a href=openapi.json>openapi.json</a>.</p>"
    ]
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            rows = [*_parameters(operation), *_fields(operation, openapi)]
            if rows:
                parts.append(f"<table><tr><th>name<th>type<th>default<th>meaning{''.join(rows)}</table>")
    return "".join(parts) + "</html>"


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        yield _row(parameter["name"], parameter["schema"], parameter.get("required", False))


def _fields(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> Iterator[str]:
    """Of the body, and of what it lists."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is None:
        return
    for name, schema in _model(body, openapi)["properties"].items():
        yield _row(name, schema, False)
        for choice in schema.get("anyOf", ()):
            if "$ref" in choice.get("items", {}):
                for inner, of in _model(choice["items"], openapi)["properties"].items():
                    yield _row(f"{name}[].{inner}", of, False)


def _model(reference: Mapping[str, Any], openapi: Mapping[str, Any]) -> Mapping[str, Any]:
    return openapi["components"]["schemas"][reference["$ref"].rpartition("/")[2]]


def _row(name: str, schema: Mapping[str, Any], is_required: bool) -> str:
    default = "required" if is_required else schema.get("default", "")
    bounds = [
        f"at {word} {schema[key]:,}" for key, word in (("minimum", "least"), ("maximum", "most")) if key in schema
    ]
    meaning = ", ".join(filter(None, (schema.get("description", ""), *bounds)))
    return "<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in (name, _type(schema), default, meaning))


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return schema.get("format", schema.get("type", "object"))
