# SPDX-License-Identifier: Apache-2.0
"""Whether JSON is as a schema of an OpenAPI document says: the words that ours use, and strictly."""

import datetime

TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
         "null": type(None)}
WORDS = {"type", "format", "enum", "properties", "required", "items", "additionalProperties", "minimum",
         "maximum", "exclusiveMinimum", "description", "$ref"}


def problems(value, schema, document, where="the answer"):
    """Sentences; none if all is well. An object has no members but those that its schema lists, if it lists any."""
    if unknown := set(schema) - WORDS:
        return [f"{where}: the schema has {unknown}, which is not looked at here"]
    if "$ref" in schema:
        return problems(value, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document, where)
    kinds = schema.get("type", list(TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(is_a(value, kind) for kind in kinds):
        return [f"{where}: {value!r} is no {' or '.join(kinds)}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {schema['enum']}")
    if schema.get("format") == "date-time" and value is not None and not is_time(value):
        found.append(f"{where}: {value!r} is no time")
    if is_a(value, "number") and not (schema.get("minimum", value) <= value <= schema.get("maximum", value)
                                      and schema.get("exclusiveMinimum", value - 1) < value):
        found.append(f"{where}: {value} is out of range")
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += problems(item, schema.get("items", {}), document, f"{where}[{i}]")
    if isinstance(value, dict):
        found += of_object(value, schema, document, where)
    return found


def of_object(value, schema, document, where):
    members, others = schema.get("properties", {}), schema.get("additionalProperties", "properties" not in schema)
    found = [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in members:
            found += problems(item, members[name], document, f"{where}.{name}")
        elif isinstance(others, dict):
            found += problems(item, others, document, f"{where}.{name}")
        elif not others:
            found.append(f"{where}: {name} is not in the schema")
    return found


def is_a(value, kind):
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def is_time(text):
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False
