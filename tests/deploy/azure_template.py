# SPDX-License-Identifier: Apache-2.0
"""What of an ARM template can be told without Azure: its expressions are evaluated with given parameters, so that ids,
names and scopes are what they would be in a deployment. The functions are those that our template uses.
https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions"""

import hashlib
import re

TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z]\w*)|(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<sign>[(),.\[\]]))")
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/films"


class Bad(Exception):
    """What is wrong with a template."""


class Expression:
    """One [expression], by recursive descent."""

    def __init__(self, text, scope):
        self.scope = scope
        self.tokens = []
        at = 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            if not found:
                raise Bad(f"not an expression at {text[at:]!r}")
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()
        self.text = text

    def take(self, sign=None):
        if not self.tokens or sign and self.tokens[0][1] != sign:
            raise Bad(f"{sign or 'more'} is missing in {self.text!r}")
        return self.tokens.pop(0)

    def next_is(self, sign):
        return bool(self.tokens) and self.tokens[0] == ("sign", sign)

    def all(self):
        value = self.value()
        if self.tokens:
            raise Bad(f"{self.tokens[0][1]!r} is too much in {self.text!r}")
        return value

    def value(self):
        kind, word = self.take()
        if kind == "text":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return int(word)
        if kind != "name":
            raise Bad(f"{word!r} begins no value in {self.text!r}")
        self.take("(")
        arguments = []
        while not self.next_is(")"):
            arguments.append(self.value())
            if not self.next_is(")"):
                self.take(",")
        self.take(")")
        value = self.scope.call(word, arguments)
        while self.next_is("."):
            self.take(".")
            _, member = self.take()
            if not isinstance(value, dict) or member not in value:
                raise Bad(f"there is no .{member} in {self.text!r}")
            value = value[member]
        return value


class Template:
    """A template with the values of its parameters. `resources` have every expression in them evaluated."""

    def __init__(self, template, given):
        self.template = template
        self.used = {"parameters": set(), "variables": set()}
        self.given = {name: self.checked(name, given) for name in template["parameters"]}
        unknown = set(given) - set(template["parameters"])
        if unknown:
            raise Bad(f"there is no parameter {unknown.pop()}")
        self.resources = [self.evaluate(each) for each in template["resources"]]
        self.outputs = {name: self.evaluate(each["value"]) for name, each in template.get("outputs", {}).items()}

    def checked(self, name, given):
        rules = self.template["parameters"][name]
        if name not in given and "defaultValue" not in rules:
            raise Bad(f"parameter {name} is not given")
        value = given.get(name, rules.get("defaultValue"))
        kind = {"string": str, "int": int}[rules["type"]]
        if not isinstance(value, kind):
            raise Bad(f"parameter {name} is no {rules['type']}")
        size = len(value) if kind is str else value
        least, most = ("minLength", "maxLength") if kind is str else ("minValue", "maxValue")
        if not rules.get(least, size) <= size <= rules.get(most, size):
            raise Bad(f"parameter {name} is too small or too large")
        if value not in rules.get("allowedValues", [value]):
            raise Bad(f"parameter {name} is none of those that are allowed")
        return value

    def evaluate(self, value):
        if isinstance(value, dict):
            return {name: self.evaluate(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.evaluate(each) for each in value]
        if isinstance(value, str) and value.startswith("[") and not value.startswith("[["):
            if not value.endswith("]"):
                raise Bad(f"an expression does not end: {value!r}")
            return Expression(value[1:-1], self).all()
        return value

    def call(self, name, arguments):
        if name in ("parameters", "variables"):
            values = self.given if name == "parameters" else self.template["variables"]
            wanted, = arguments
            if wanted not in values:
                raise Bad(f"{name}('{wanted}') is not there")
            self.used[name].add(wanted)
            return self.evaluate(values[wanted])
        known = {"concat": "".join, "guid": self.guid, "resourceId": resource_id,
                 "subscriptionResourceId": lambda parts: "/subscriptions/x" + resource_id(parts)[len(GROUP):],
                 "resourceGroup": lambda _: {"id": GROUP, "location": "westeurope", "name": "films"},
                 "environment": lambda _: {"suffixes": {"storage": "core.windows.net"}}}
        if name not in known:
            raise Bad(f"there is no function {name}")
        return known[name](arguments)

    @staticmethod
    def guid(parts):
        return hashlib.sha256("-".join(parts).encode()).hexdigest()[:32]


def resource_id(parts):
    kind, *names = parts
    kinds = kind.split("/")
    if len(kinds) != len(names) + 1 or not all(names):
        raise Bad(f"{kind} takes {len(kinds) - 1} names, not {names}")
    return f"{GROUP}/providers/{kinds[0]}" + "".join(f"/{a}/{b}" for a, b in zip(kinds[1:], names))


def id_of(resource):
    """The id that a resource of the template will have."""
    inner = resource_id([resource["type"], *resource["name"].split("/")])
    if "scope" not in resource:
        return inner
    return f"{GROUP}/providers/{resource['scope']}{inner[len(GROUP):]}"
