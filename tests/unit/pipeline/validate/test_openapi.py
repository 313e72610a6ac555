from pipeline.validate import openapi

STRING = {"type": "string", "description": "left out"}


def test_an_object_whose_properties_are_named_refuses_others() -> None:
    assert openapi.strict({"type": "object", "properties": {"a": STRING}}) == {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "additionalProperties": False,
    }


def test_a_property_may_be_called_like_a_word_of_the_schema() -> None:
    found = openapi.strict({"type": "object", "properties": {"description": STRING, "properties": STRING}})
    assert set(found["properties"]) == {"description", "properties"}


def test_an_object_that_keeps_unknown_fields_stays_open() -> None:
    stated = {"type": "object", "properties": {"a": STRING}, "x-kubernetes-preserve-unknown-fields": True}
    assert "additionalProperties" not in openapi.strict(stated)


def test_what_only_adds_a_condition_stays_open() -> None:
    found = openapi.strict({"type": "object", "properties": {"a": STRING}, "oneOf": [{"properties": {"a": STRING}}]})
    assert found["oneOf"] == [{"properties": {"a": {"type": "string"}}}]


def test_null_passes_where_the_definition_says_so() -> None:
    assert openapi.strict({"type": "string", "nullable": True}) == {"type": ["string", "null"]}


def test_a_large_part_that_occurs_twice_is_stated_once() -> None:
    large = {"type": "object", "properties": {f"field-{n}": {"type": "string"} for n in range(30)}}
    found = openapi.compact({"type": "object", "properties": {"a": large, "b": large, "c": {"type": "string"}}})
    assert found["properties"]["a"] == found["properties"]["b"] == {"$ref": "#/definitions/part-0"}
    assert found["definitions"] == {"part-0": large}
    assert found["properties"]["c"] == {"type": "string"}
