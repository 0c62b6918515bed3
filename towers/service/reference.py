"""`/docs`: the endpoints as a plain page, made of OpenAPI; FastAPI's own pages load their scripts from another host."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def reference_page(openapi: Mapping[str, Any]) -> str:
    """Returns HTML without scripts or styles: every endpoint, its parameters, the fields of its body and answer."""
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
            answer = _answer(operation)
            if answer is not None:
                parts.append(f"<p>Answers with {_type(answer, links=True)}.</p>")
    parts.append("<h2>Answers</h2>")
    for name in _answers(openapi):
        parts.extend(_shape(name, openapi["components"]["schemas"][name]))
    return "".join(parts) + "</html>"


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        yield _row(parameter["name"], parameter["schema"], parameter.get("required", False))


def _fields(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> Iterator[str]:
    """Yields table rows for the fields of a body, and for the fields of models in its lists."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is None:
        return
    for name, schema in _model(body, openapi)["properties"].items():
        yield _row(name, schema, False)
        for choice in schema.get("anyOf", ()):
            if "$ref" in choice.get("items", {}):
                for inner, of in _model(choice["items"], openapi)["properties"].items():
                    yield _row(f"{name}[].{inner}", of, False)


def _answer(operation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the schema of the answer; null if it is not JSON."""
    return operation["responses"]["200"]["content"].get("application/json", {}).get("schema")


def _answers(openapi: Mapping[str, Any]) -> list[str]:
    """Returns the names of all models of answers, each followed by the models of its fields."""
    names: dict[str, None] = {}

    def add(schema: Mapping[str, Any]) -> None:
        for part in (*schema.get("anyOf", ()), schema.get("items", {})):
            if part:
                add(part)
        if "$ref" in schema and _name(schema) not in names:
            names[_name(schema)] = None
            for field in _model(schema, openapi)["properties"].values():
                add(field)

    for methods in openapi["paths"].values():
        for operation in methods.values():
            add(_answer(operation) or {})
    return list(names)


def _shape(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3 id={name}>{name}</h3><p>{escape(model.get('description', ''))}</p>"
    rows = (
        f"<tr><td>{escape(field)}<td>{_type(schema, links=True)}<td>{escape(schema.get('description', ''))}"
        for field, schema in model["properties"].items()
    )
    yield f"<table><tr><th>name<th>type<th>meaning{''.join(rows)}</table>"


def _model(reference: Mapping[str, Any], openapi: Mapping[str, Any]) -> Mapping[str, Any]:
    return openapi["components"]["schemas"][_name(reference)]


def _name(reference: Mapping[str, Any]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _row(name: str, schema: Mapping[str, Any], is_required: bool) -> str:
    default = "required" if is_required else schema.get("default", "")
    bounds = [
        f"at {word} {schema[key]:,}" for key, word in (("minimum", "least"), ("maximum", "most")) if key in schema
    ]
    meaning = ", ".join(filter(None, (schema.get("description", ""), *bounds)))
    cells = (escape(name), _type(schema), escape(str(default)), escape(meaning))
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _type(schema: Mapping[str, Any], links: bool = False) -> str:
    """Returns a type as HTML for people; with `links` a model is a link to its fields."""
    if "anyOf" in schema:
        return " or ".join(_type(choice, links) for choice in schema["anyOf"])
    if "$ref" in schema and links:
        return f"<a href=#{_name(schema)}>{_name(schema)}</a>"
    if "enum" in schema:
        return escape(", ".join(schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), links)}"
    return escape(schema.get("format", schema.get("type", "object")))
