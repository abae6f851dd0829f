"""The REST interface's texts, against vectors read from TF Serving's own tests."""

import base64
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server import json_tensors
from serving.server.errors import ServingError, http_status
from serving.server.json_examples import decode_examples, encode_classification, encode_regression
from serving.server.json_tensors import decode_base64, decode_predict, encode_predict
from serving.server.json_text import decimals, pretty, shown
from serving.server.urls import parse_path
from serving.server.versions import VersionPolicy, aspired_versions


def numbers(values: Any) -> Any:
    """The vectors' way to write numbers that JSON has not."""
    return [float(value) if value in ("NaN", "Infinity", "-Infinity", "-0") else value for value in values]


def request_body(request: dict[str, Any]) -> bytes:
    if "body_recipe" in request:
        return "".join(part * count for part, count in request["body_recipe"]).encode()
    return str(request["body"]).encode()


def tensor_of(vector: dict[str, Any]) -> np.ndarray[Any, Any]:
    if vector["dtype"] == "string":
        array = np.empty(len(vector["values"]), object)
        array[:] = [value.encode() for value in vector["values"]]
        return array.reshape(vector["shape"])
    return np.array(numbers(vector["values"]), vector["dtype"]).reshape(vector["shape"])


def feature_values(example: tf.train.Example) -> dict[str, Any]:
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = [value.decode() if isinstance(value, bytes) else value for value in getattr(feature, kind).value]
        found[name] = {kind.removesuffix("_list"): values}
    return found


def check_url(request: dict[str, Any], expect: dict[str, Any]) -> None:
    if not expect["parse_ok"]:
        with pytest.raises(ServingError, match=expect.get("error_contains", "Malformed request")):
            parse_path(request["method"], request["path"])
        return
    found = parse_path(request["method"], request["path"])
    assert (found.model, found.version, found.label) == (expect["model"], expect.get("version"), expect.get("label"))
    assert found.method == expect.get("method", "")


def check_json_to_tensors(request: dict[str, Any], expect: dict[str, Any]) -> None:
    types = {name: tf.as_dtype(dtype) for name, dtype in request["signature_inputs"].items()}
    found = decode_predict(request_body(request), lambda _: types)
    assert found.row == (expect["format"] == "row")
    assert found.tensors.keys() == expect["tensors"].keys()
    for name, vector in expect["tensors"].items():
        np.testing.assert_array_equal(found.tensors[name], tensor_of(vector))
        assert found.tensors[name].dtype == tensor_of(vector).dtype


def check_text(text: str, expect: dict[str, Any], vector: dict[str, Any]) -> None:
    if vector["compare"] == "json_numbers_as_text":
        assert "".join(text.split()) == "".join(expect["json_text"].split())
    else:
        assert json.loads(text) == json.loads(expect["json_text"])


def check_json_to_examples(request: dict[str, Any], expect: dict[str, Any]) -> None:
    found = decode_examples(request_body(request))
    assert found.signature == expect["signature_name"]
    for example, vector in zip([*found.examples, found.context], [*expect["examples"], expect["context"]], strict=True):
        assert (example is None) == (vector is None)
        if example is not None:
            wanted = {name: {kind: numbers(values) for kind, values in one.items()} for name, one in vector.items()}
            # As text, where NaN equals itself.
            assert sorted(map(str, feature_values(example).items())) == sorted(map(str, wanted.items()))


def check_version_policy(request: dict[str, Any], expect: dict[str, Any]) -> None:
    policy = VersionPolicy()
    if request["policy"]:
        policy = VersionPolicy(specific=frozenset(request["policy"]["specific"].get("versions", ())))
    assert list(aspired_versions(request["children"], policy).items()) == [tuple(one) for one in expect["aspired"]]


def run_vector(vector: dict[str, Any]) -> None:
    request, expect, layer = vector["request"], vector["expect"], vector["layer"]
    if layer == "url":
        check_url(request, expect)
    elif layer == "json_to_tensors":
        check_json_to_tensors(request, expect)
    elif layer == "json_to_examples":
        check_json_to_examples(request, expect)
    elif layer == "version_policy":
        check_version_policy(request, expect)
        if "then" in vector:
            check_version_policy({**vector["then"], "policy": None}, vector["then"])
    elif layer == "tensors_to_json":
        tensors = {name: tensor_of(one) for name, one in request["tensors"].items()}
        check_text(encode_predict(tensors, request["format"] == "row").decode(), expect, vector)
    elif request["kind"] == "regress":
        check_text(encode_regression(np.array(numbers(request["result"]), np.float32)).decode(), expect, vector)
    else:
        check_text(encode_classification(request["result"]).decode(), expect, vector)


@pytest.mark.real_data
def test_vectors_of_tf_serving(real_data: Path) -> None:
    vectors = json.loads((real_data.parent / "serving" / "vectors.json").read_text())["vectors"]
    layers: Counter[str] = Counter()
    for vector in vectors:
        expect = vector["expect"]
        if expect.get("ok", True):
            run_vector(vector)
        else:
            with pytest.raises(ServingError) as caught:
                run_vector({**vector, "expect": {**expect, "format": "row", "tensors": {}}})
            assert caught.value.code == expect["code"], vector["id"]
            assert http_status(caught.value.code) == expect.get("status", 400)
            for part in expect["error_contains"]:
                assert part in caught.value.message, vector["id"]
        layers[vector["layer"]] += 1
    assert layers.total() == len(vectors) == 68
    assert layers.keys() == {
        *("url", "json_to_tensors", "tensors_to_json", "result_to_json", "json_to_examples", "version_policy"),
    }


def decoded(body: bytes | str, dtype: tf.DType = tf.float32) -> list[Any]:
    raw = body if isinstance(body, bytes) else body.encode()
    return list(decode_predict(raw, lambda _: {"x": dtype}).tensors["x"].tolist())


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('{"instances": [1, 2.5]} and what follows', [1, 2.5]),
        ('\ufeff{"instances": [1]}', [1]),
        ('{"instances": [Infinity, -Infinity, Inf]}', [math.inf, -math.inf, math.inf]),
        ('{"instances": [1e39, 18446744073709551616, -0.0]}', [math.inf, 2.0**64, -0.0]),
        (b'{"instances": [1], "instances": [2, NaN], "x\xff": 1}', [1]),
    ],
)
def test_dialect_of_json(body: bytes | str, values: list[float]) -> None:
    assert decoded(body) == values


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("  ", "The document is empty. at offset: 2"),
        ('{"instances": [1,]}', "Invalid value. at offset: 17"),
        ('{"instances": [1 2]}', "Missing a comma or ] after an array element. at offset: 17"),
        ('{"instances": [1]', "Missing a comma or } after an object member. at offset: 17"),
        ('{"instances" [1]}', "Missing a colon after a name of object member. at offset: 13"),
        ("{1: 2}", "Missing a name for object member. at offset: 1"),
        ('{"instances": ["a', "Missing a closing quotation mark in string. at offset: 15"),
        ('{"instances": [1e400]}', "Number too big to be stored in double. at offset: 15"),
        ('{"instances": ["\\ud800"]}', "The surrogate pair in string is invalid. at offset: 16"),
        ('{"instances": ["\\x"]}', "Invalid escape character in string. at offset: 16"),
        ("[1]", "Is not object"),
    ],
)
def test_words_of_json_errors(body: str, words: str) -> None:
    with pytest.raises(ServingError) as caught:
        decoded(body)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert words in caught.value.message


@pytest.mark.parametrize("value", ["true", '"1"', "null", "{}", '{"b64": "AA=="}', "[[1], 2]", "[1, [2]]"])
def test_what_is_no_number(value: str) -> None:
    with pytest.raises(ServingError, match="INVALID_ARGUMENT"):
        decoded(f'{{"inputs": {value}}}')


@pytest.mark.parametrize(
    ("dtype", "value", "right"),
    [
        (tf.int32, "[1.0]", None),
        (tf.int32, "[2147483648]", None),
        (tf.int8, "[-128, 127]", [-128, 127]),
        (tf.uint64, "[18446744073709551615]", [2**64 - 1]),
        (tf.int64, "[9223372036854775808]", None),
        (tf.bool, "[true, false]", [True, False]),
        (tf.bool, "[1]", None),
        (tf.string, '["é", {"b64": "/w"}]', ["é".encode(), b"\xff"]),
        (tf.string, '[{"b64": "AA==", "more": 1}]', None),
        (tf.string, '[{"b64": "_w"}]', None),
    ],
)
def test_types(dtype: tf.DType, value: str, right: list[Any] | None) -> None:
    if right is None:
        with pytest.raises(ServingError, match="INVALID_ARGUMENT"):
            decoded(f'{{"inputs": {value}}}', dtype)
    else:
        assert decoded(f'{{"inputs": {value}}}', dtype) == right


def test_types_that_json_has_not() -> None:
    with pytest.raises(ServingError, match="UNIMPLEMENTED: Conversion of JSON Value: 1 to type: complex64"):
        decoded('{"inputs": 1}', tf.complex64)
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type: half"):
        encode_predict({"y": np.zeros(1, np.float16)}, row=True)


def test_an_error_shows_the_beginning_of_what_was_sent() -> None:
    with pytest.raises(ServingError) as caught:
        decoded('{"instances": [1], "inputs": ' + json.dumps(["é" * 10_000]) + "}")
    assert len(caught.value.message) < 400
    assert shown([1, "a"]) == '[\n    1,\n    "a"\n]'


def test_lists_deeper_than_a_tensor_can_be() -> None:
    with pytest.raises(ServingError, match="nested deeper than 254 lists"):
        decoded('{"inputs": ' + "[" * 900 + "1" + "]" * 900 + "}")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0.2"), (3, "3.0"), (1e-5, "1e-05"), (9e6, "9e+06"), (0.1234567, "0.123456702"), (-0.0, "-0.0")],
)
def test_numbers_as_text(value: float, text: str) -> None:
    assert decimals(np.array([value], np.float32)) == [text]


def test_every_float32_can_be_read_back() -> None:
    values = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    texts = decimals(values)
    np.testing.assert_array_equal(np.array([np.float32(text) for text in texts]), values)


def test_layout_of_answers() -> None:
    outputs = {"b": np.array([[1, 2], [3, 4]], np.float32), "a": np.array([b"x\n", b"y"], object)}
    assert encode_predict({"b": outputs["b"]}, row=True).decode() == (
        '{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'
    )
    assert (
        encode_predict(outputs, row=True)
        .decode()
        .startswith(
            '{\n    "predictions": [\n        {\n            "a": "x\\n",\n            "b": [1.0, 2.0]\n        },'
        )
    )
    assert encode_predict({"b": outputs["b"][0]}, row=False).decode() == (
        '{\n    "outputs": [\n        1.0,\n        2.0\n    ]\n}'
    )
    assert encode_regression(np.array([1, 2], np.float32)).decode() == '{\n    "results": [1.0, 2.0]\n}'
    assert pretty({"error": '"é\x01'}) == '{\n    "error": "\\"é\\u0001"\n}'


def test_a_version_is_a_64_bit_number() -> None:
    children = ["1", "007", "9223372036854775808", "-3", "1.5", "²", "x", "9" * 5000]
    assert aspired_versions(children, VersionPolicy(latest=5)) == {1: "1", 7: "007"}


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.floats(width=32),
    st.sampled_from([0, 1, -1, 0.0, -0.0, 1.0, 1e39, 2**63, 2**64 - 1, -(2**63)]),
    st.sampled_from([True, False, None, "", "1", {"b64": "AA=="}, {"b64": "A"}, {}, []]),
)
# Mostly what clients send, now and then something that is not a number among it.
NUMBERS = st.one_of(st.floats(), st.integers(-(2**63), 2**64 - 1), st.sampled_from([0, 1, 0.0, 1.0]))
ROWS = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=4)
VALUES = st.one_of(ROWS, st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=12))
MIXED = st.one_of(ROWS, st.lists(st.lists(NUMBERS | LEAVES, min_size=3, max_size=3), min_size=1, max_size=3))


def outcome(body: bytes, dtype: tf.DType) -> Any:
    try:
        tensors = decode_predict(body, lambda _: {"x": dtype, "y": dtype}).tensors
    except ServingError as error:
        return error.code, error.message
    return {name: (array.dtype, array.shape, array.tolist().__repr__()) for name, array in tensors.items()}


@given(
    instances=st.lists(st.fixed_dictionaries({"x": VALUES | MIXED, "y": VALUES | MIXED}), min_size=1, max_size=2),
    row=st.booleans(),
    dtype=st.sampled_from([tf.float32, tf.float64, tf.int64, tf.int8, tf.string, tf.bool]),
)
@settings(max_examples=600, deadline=None)
def test_what_is_read_fast_is_read_alike(instances: list[Any], row: bool, dtype: tf.DType) -> None:
    body = json.dumps({"instances": instances} if row else {"inputs": instances[0]}).encode()
    fast = outcome(body, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tensors, "_dense", lambda *_: None)
        assert fast == outcome(body, dtype)


@given(
    st.one_of(
        st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()),
        st.text("AZaz09+/=-_ \n\u00e9", max_size=9),
    )
)
@settings(max_examples=500, deadline=None)
def test_base64_is_of_the_standard_alphabet_alone(text: str) -> None:
    stripped = text.rstrip("=")
    try:
        wanted = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except ValueError:
        with pytest.raises(ServingError, match="Unable to base64 decode"):
            decode_base64(text)
    else:
        assert decode_base64(text) == wanted
