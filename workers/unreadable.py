"""Which fields of an order cannot be read, by a node or a studio of another age."""

from pydantic import ValidationError

_MOST_FIELDS = 10  # that a refusal names
_LONGEST_FIELD = 200


def name_fields(problem: ValidationError, *, of_spec: bool = False) -> list[str]:
    """Return the fields of an order that cannot be read, as people write them: `spec.lora.rank`.

    The kind of a spec stands in pydantic's places, and not in the spec. `of_spec`: the problem is
    of a spec alone.
    """
    fields = []
    for error in problem.errors(include_url=False, include_input=False, include_context=False):
        where = [*(["spec"] if of_spec else []), *map(str, error["loc"])]
        if where[0:1] == ["spec"]:
            where[1:2] = [] if len(where) > 1 else ["kind"]
        field = "".join(filter(str.isprintable, ".".join(where)))[:_LONGEST_FIELD]
        if field and field not in fields:
            fields.append(field)
    return fields[:_MOST_FIELDS]
