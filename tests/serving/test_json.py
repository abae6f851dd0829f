"""The REST interface's texts, against vectors read from TF Serving's own tests."""

import base64
import gc
import json
import math
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server import json_tensors
from serving.server.errors import ServingError, http_status
from serving.server.flags import ServerOptions
from serving.server.json_tensors import decode_base64, decode_predict, encode_predict
from serving.server.json_values import parse
from tests.support.serving import Running, running


def numbers(values: Any) -> Any:
    """The vectors' way to write numbers that JSON has not."""
    return [float(value) if value in ("NaN", "Infinity", "-Infinity", "-0") else value for value in values]


def tensor_of(vector: dict[str, Any]) -> np.ndarray[Any, Any]:
    if vector["dtype"] == "string":
        array = np.empty(len(vector["values"]), object)
        array[:] = [value.encode() for value in vector["values"]]
        return array.reshape(vector["shape"])
    return np.array(numbers(vector["values"]), vector["dtype"]).reshape(vector["shape"])


def check_url(request: dict[str, Any], expect: dict[str, Any], server: Running) -> None:
    """A path that is understood is answered with what it names."""
    answer = httpx.request(request["method"], server.address + request["path"])
    told = answer.json()["error"]
    if not expect["parse_ok"]:
        assert answer.status_code == 400
        assert told.startswith(expect.get("error_contains", "Malformed request"))
    elif "version" in expect:
        assert answer.status_code == 404
        assert expect["model"] in told
        assert str(expect["version"]) in told


def check_json_to_tensors(request: dict[str, Any], expect: dict[str, Any]) -> None:
    types = {name: tf.as_dtype(dtype) for name, dtype in request["signature_inputs"].items()}
    found = decode_predict(request["body"].encode(), lambda _: types)
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


def run_vector(vector: dict[str, Any], server: Running) -> None:
    request, expect, layer = vector["request"], vector["expect"], vector["layer"]
    if layer == "url":
        check_url(request, expect, server)
    elif layer == "json_to_tensors":
        check_json_to_tensors(request, expect)
    else:
        tensors = {name: tensor_of(one) for name, one in request["tensors"].items()}
        check_text(encode_predict(tensors, request["format"] == "row").decode(), expect, vector)


def concerns(vector: dict[str, Any]) -> bool:
    """Whether a vector is about what the stand-in has: no labels, no classify and regress, no policy but the latest."""
    known = vector["layer"] in ("url", "json_to_tensors", "tensors_to_json")
    # Nor lists nested half a million deep.
    return known and "label" not in vector["expect"] and "body_recipe" not in vector["request"]


@pytest.mark.real_data
def test_vectors_of_tf_serving(real_data: Path, tmp_path: Path) -> None:
    found = json.loads((real_data.parent / "serving" / "vectors.json").read_text())["vectors"]
    vectors = [vector for vector in found if concerns(vector)]
    assert Counter(vector["layer"] for vector in vectors) == {"url": 8, "json_to_tensors": 25, "tensors_to_json": 7}
    with running(ServerOptions("m", str(tmp_path))) as server:
        for vector in vectors:
            expect = vector["expect"]
            if expect.get("ok", True):
                run_vector(vector, server)
                continue
            with pytest.raises(ServingError) as caught:
                run_vector({**vector, "expect": {**expect, "format": "row", "tensors": {}}}, server)
            assert caught.value.code == expect["code"], vector["id"]
            assert http_status(caught.value.code) == expect.get("status", 400)
            for part in expect["error_contains"]:
                assert part in caught.value.message, vector["id"]


def decoded(body: bytes | str, dtype: tf.DType = tf.float32) -> list[Any]:
    raw = body if isinstance(body, bytes) else body.encode()
    return list(decode_predict(raw, lambda _: {"x": dtype}).tensors["x"].tolist())


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('{"instances": [1, 2.5]}', [1, 2.5]),
        ('{"instances": [Infinity, -Infinity, 1]}', [math.inf, -math.inf, 1]),
        ('{"instances": [1e39, 18446744073709551616, -0.0]}', [math.inf, 2.0**64, -0.0]),
        ('{"instances": [-Infinity, 18446744073709551616, 1' + "0" * 5000 + "]}", [-math.inf, 2.0**64, math.inf]),
    ],
)
def test_dialect_of_json(body: str, values: list[float]) -> None:
    assert decoded(body) == values


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "The document is empty"),
        ("  ", "JSON Parse error: "),
        ('{"instances": [1,]}', "line 1 column 17"),
        ('{"instances": [NaN,]}', "line 1 column 20"),
        ('{"instances": [1]', "JSON Parse error: "),
        ('{"instances": [1]} and more', "JSON Parse error: "),
        (b'{"instances": ["\xff"]}', "JSON Parse error: "),
        ('{"instances": [NaN, ' + "[" * 100_000, "nested too deep"),
        ('{"instances": ' + "[" * 100_000, "JSON Parse error: "),
        ("[1]", "Is not object"),
    ],
)
def test_words_of_json_errors(body: bytes | str, words: str) -> None:
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
    with pytest.raises(ServingError, match=r"JSON Value: 'ééé.*Type: String is not of expected type: float") as caught:
        decoded(json.dumps({"instances": ["é" * 10_000]}))
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "body", ['{"instances": [{"b64": "AA=="}]}', '{"instances": ["a"]}', '{"inputs": {"b64": "AA=="}}']
)
def test_a_value_without_a_name_is_for_a_single_input(body: str) -> None:
    with pytest.raises(ServingError, match="multiple input tensors required"):
        decode_predict(body.encode(), lambda _: {"x": tf.string, "y": tf.string})


def test_lists_deeper_than_a_tensor_can_be() -> None:
    with pytest.raises(ServingError, match="nested deeper than 254 lists"):
        decoded('{"inputs": ' + "[" * 900 + "1" + "]" * 900 + "}")


def test_a_document_of_small_objects_takes_no_more_memory_than_one_of_numbers() -> None:
    with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
        parse(b'{"inputs": [' + b'{"":1},' * 2_500_000 + b"1]}")


@pytest.mark.parametrize("end", ["]}", "], NaN"])
def test_a_document_is_not_searched_for_garbage_while_it_is_read(end: str) -> None:
    collections: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        collections.append(phase)

    body = b'{"inputs": [' + b"[1]," * 100_000 + b"[1]" + end.encode()
    gc.collect()
    gc.callbacks.append(note)
    try:
        with suppress(ServingError):
            parse(body)
        found = len(collections)
    finally:
        gc.callbacks.remove(note)
    assert found <= 4  # One that ends what was going on before, and one behind the document.
    assert gc.isenabled()


def test_every_float32_can_be_read_back() -> None:
    values = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    for sent in (values, values[np.isfinite(values)]):
        answered = json.loads(encode_predict({"x": sent}, row=True))["predictions"]
        np.testing.assert_array_equal(np.array(answered, np.float32), sent)


@pytest.mark.parametrize("shape", [(), (0,), (0, 2), (2, 0), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, object])
def test_every_shape_can_be_written(shape: tuple[int, ...], dtype: type) -> None:
    array: np.ndarray[Any, Any] = np.full(shape, b"text" if dtype is object else 1, dtype)
    wanted = np.full(shape, "text", object).tolist() if dtype is object else array.tolist()
    assert json.loads(encode_predict({"x": array}, row=False)) == {"outputs": wanted}
    if shape:
        rows = [{"x": row, "y": row} for row in wanted]
        assert json.loads(encode_predict({"x": array, "y": array}, row=True)) == {"predictions": rows}


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
@settings(max_examples=300, deadline=None)
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
