"""`zoo serve`: TensorFlow Serving's REST API in front of an export, and batches of requests."""

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from zoo import cli
from zoo.errors import InputError
from zoo.serving import listening, rest
from zoo.serving.batching import Batcher, Full
from zoo.serving.exported import Exported, Signature, Spec, locate

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
from starlette.testclient import TestClient

from zoo.serving.server import Service

EXPORT = pathlib.Path(__file__).parents[1] / "artefacts" / "export"


def signature(name="serving_default", batches=True, **inputs):
    specs = {key: Spec(key, dtype, shape) for key, (dtype, shape) in inputs.items()}
    return Signature(name, specs, {"sum": Spec("sum", "float32", (None,))}, batches)


class Adder:
    """A model without TensorFlow: rows of x summed; refuses rows of more than 100 and remembers its batches."""

    version = 3

    def __init__(self):
        self.asked = []
        rows = {"x": ("float32", (None, None))}
        self.signatures = {
            "serving_default": signature(**rows),
            "alone": signature("alone", False, **rows),
            "texts": signature("texts", text_bytes=("string", (None,))),
            "wide": signature("wide", False, text=("string", (None,)), width=("int32", ())),
        }

    def signature(self, name):
        if not isinstance(name, str) or name not in self.signatures:
            raise InputError(f"Unknown signature {name!r}.")
        return self.signatures[name]

    def ask(self, name, arrays):
        if name == "texts":
            return {"text_bytes": arrays["text_bytes"], "text": arrays["text_bytes"]}
        if name == "wide":
            return {"texts": np.array([[b"a"] * int(arrays["width"])] * 2, object), "width": arrays["width"]}
        x = arrays["x"]
        self.asked.append(x.shape)
        if (x > 1e6).any():
            raise ZeroDivisionError("broken")
        if (x > 100).any():
            raise InputError("The model refuses its inputs: too large.")
        return {"sum": x.sum(axis=1)}

    def metadata(self):
        return {}


@pytest.fixture
def adder():
    return Adder()


@pytest.fixture
def client(adder):
    with TestClient(Service(adder, "adder", delay=0).app()) as found:
        yield found


def predict(client, body, path="/v1/models/adder:predict"):
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    answer = client.post(path, content=content)
    return answer.status_code, answer.json()


# What comes in and goes out -------------------------------------------------------------------------------------------


def test_rows_and_columns_have_the_same_answer(client):
    assert predict(client, {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}) == (200, {"predictions": [3.0, 7.0]})
    assert predict(client, {"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [3.0, 7.0]})
    assert predict(client, {"inputs": {"x": [[1, 2], [3, 4]]}}) == (200, {"outputs": [3.0, 7.0]})
    assert predict(client, {"inputs": [[1, 2], [3, 4]]}) == (200, {"outputs": [3.0, 7.0]})


def test_bytes_are_base64_where_the_output_says_so_or_they_are_no_text(client):
    raw = b"\xff\x00 \x80"
    coded = {"b64": base64.b64encode(raw).decode()}
    body = {"signature_name": "texts", "instances": [coded, "é"]}
    texts = {"b64": base64.b64encode("é".encode()).decode()}
    rows = [{"text_bytes": coded, "text": coded}, {"text_bytes": texts, "text": "é"}]
    assert predict(client, body) == (200, {"predictions": rows})
    body = {"signature_name": "texts", "inputs": {"text_bytes": [coded]}}
    assert predict(client, body) == (200, {"outputs": {"text_bytes": [coded], "text": [coded]}})


def test_a_signature_without_rows_in_common_is_asked_by_columns(client):
    body = {"signature_name": "wide", "inputs": {"text": ["a", "b"], "width": 2}}
    assert predict(client, body) == (200, {"outputs": {"texts": [["a", "a"], ["a", "a"]], "width": 2}})
    status, answer = predict(client, {"signature_name": "wide", "instances": [{"text": "a", "width": 2}]})
    assert status == 400
    assert "inputs (columns)" in answer["error"]


WRONG = {
    "no JSON": "{",
    "not UTF-8": b"\xff\xfe{}",
    "a list": [],
    "nothing": {},
    "both formats": {"instances": [[1.0]], "inputs": [[1.0]]},
    "no rows": {"instances": []},
    "rows that are no list": {"instances": 3},
    "an unknown signature": {"signature_name": "nope", "instances": [[1.0]]},
    "a signature that is no name": {"signature_name": ["serving_default"], "instances": [[1.0]]},
    "an unknown key": {"signature": "x", "instances": [[1.0]]},
    "an unknown input": {"instances": [{"y": [1.0]}]},
    "a lacking input": {"inputs": {}},
    "rows of different inputs": {"instances": [{"x": [1.0]}, {"y": [1.0]}]},
    "a rank too few": {"instances": [1.0]},
    "a rank too many": {"instances": [[[1.0]]]},
    "lists of different lengths": {"instances": [[1.0], [1.0, 2.0]]},
    "a text for a number": {"instances": [["a"]]},
    "null": {"instances": [[None]]},
    "a boolean": {"instances": [[True]]},
    "a number beyond 64 bits for a whole one": {"signature_name": "wide", "inputs": {"text": ["a"], "width": 10**30}},
    "a fraction for a whole number": {"signature_name": "wide", "inputs": {"text": ["a"], "width": 1.5}},
    "a number for a text": {"signature_name": "texts", "instances": [3]},
    "texts of different ranks": {"signature_name": "texts", "instances": ["a", ["b"]]},
    "bad base64": {"signature_name": "texts", "instances": [{"b64": "%%%"}]},
    "base64 of a number": {"signature_name": "texts", "instances": [{"b64": 3}]},
    "half a character": '{"signature_name": "texts", "instances": ["\\ud800"]}',
    "what the model refuses": {"instances": [[101.0]]},
    "deep nesting": '{"instances": ' + "[" * 100_000,
    "deep nesting that ends": '{"instances": ' + "[" * 200 + "]" * 200 + "}",
    "a number of 5,000 digits": '{"instances": [[' + "9" * 5000 + "]]}",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_request_is_answered_with_400_and_a_line(client, kind):
    status, answer = predict(client, WRONG[kind])
    assert status == 400
    assert list(answer) == ["error"]
    assert "\n" not in answer["error"]
    assert len(answer["error"]) < 500
    assert predict(client, {"instances": [[1.0]]})[0] == 200


def test_paths_are_those_of_tensorflow_serving(client):
    version = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/adder", "/v1/models/adder/versions/3"):
        assert client.get(path).json() == {"model_version_status": [version]}
        found = client.get(f"{path}/metadata").json()
        assert found["model_spec"] == {"name": "adder", "signature_name": "", "version": "3"}
        assert predict(client, {"instances": [[1.0]]}, f"{path}:predict")[0] == 200
    assert client.get("/healthz").json() == {"status": "ok", "model": "adder", "version": 3, "waiting": 0}
    for path in ("/v1/models/other", "/v1/models/adder/versions/4", "/v1/models/adder/labels/stable"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("Servable not found for request: ")
    for method, path in (
        *(("GET", path) for path in ("/", "/v1/models", "/v1/models/adder:predict", "/v1/models/adder/versions/x")),
        *(("POST", path) for path in ("/v1/models/adder", "/v1/models/adder:regress", "/v1/models/adder/metadata")),
        ("DELETE", "/v1/models/adder"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (400, ["error"]), path


def test_a_failure_of_the_model_is_500_and_the_next_request_is_answered(client):
    assert predict(client, {"instances": [[1e7]]}) == (500, {"error": "The model failed: ZeroDivisionError."})
    assert predict(client, {"instances": [[1.0]]})[0] == 200


def test_a_body_that_is_too_large_is_refused(client, monkeypatch):
    monkeypatch.setattr(listening, "LARGEST", 100)
    assert predict(client, "x" * 101) == (413, {"error": "A request may have 100 bytes."})
    parts = (b"x" * 60 for _ in range(2))  # no length is told before
    assert client.post("/v1/models/adder:predict", content=parts).status_code == 413
    assert predict(client, {"instances": [[1.0]]})[0] == 200


@pytest.mark.parametrize(("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_page_whose_name_points_at_this_machine_gets_no_answer(host, written, adder):
    try:
        listener = listening.bind(host, 0)
    except InputError:
        pytest.skip(f"this machine has no {host}")
    with contextlib.closing(listener):
        app = listening.guarded(Service(adder, "adder").app(), listener)
    with TestClient(app) as client:
        assert client.get("/healthz", headers={"host": "evil.example:8501"}).status_code == 400
        for name in ("localhost", written, f"{written}:8501"):
            assert client.get("/healthz", headers={"host": name}).status_code == 200


# Batches --------------------------------------------------------------------------------------------------------------


def batched(ask, requests, **options):
    """What a `Batcher` answers to requests (key, array, rows) that come at once: results or errors, in order."""

    async def all_at_once():
        batcher = Batcher(ask, **{"most": 64, "delay": 0.05, "queue": 256, **options})
        asked = [asyncio.ensure_future(batcher.ask(key, {"x": array}, rows)) for key, array, rows in requests]
        await asyncio.sleep(0)  # all wait before the first is taken
        task = asyncio.ensure_future(batcher.serve())
        found = await asyncio.gather(*asked, return_exceptions=True)
        task.cancel()
        batcher.close()
        return found

    return asyncio.run(all_at_once())


def test_requests_at_the_same_time_are_asked_together_and_get_their_own_rows(adder):
    rows = [np.full((1 + number % 3, 2), number, "float32") for number in range(20)]
    found = batched(adder.ask, [("serving_default", one, len(one)) for one in rows])
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one["sum"], rows[number].sum(axis=1))
    assert len(adder.asked) == 1


def test_a_batch_has_so_many_rows_at_most(adder):
    one = np.ones((2, 2), "float32")
    batched(adder.ask, [("serving_default", one, 2)] * 5, most=4)
    assert [shape[0] for shape in adder.asked] == [4, 4, 2]
    batched(adder.ask, [("serving_default", np.ones((9, 2), "float32"), 9)], most=4)
    assert adder.asked[-1] == (9, 2)


def test_different_shapes_types_and_signatures_are_not_mixed(adder):
    narrow, wide = np.ones((1, 2), "float32"), np.ones((1, 3), "float32")
    requests = [("serving_default", narrow, 1), ("serving_default", wide, 1), ("serving_default", narrow, 1)]
    found = batched(adder.ask, [*requests, ("alone", narrow, None), ("alone", narrow, None)])
    assert [float(one["sum"][0]) for one in found] == [2, 3, 2, 2, 2]
    assert sorted(adder.asked) == [(1, 2), (1, 2), (1, 3), (2, 2)]


def test_no_request_fails_by_anothers_fault(adder):
    good, bad = np.ones((1, 2), "float32"), np.full((1, 2), 101, "float32")
    one, refused, other = batched(adder.ask, [("serving_default", x, 1) for x in (good, bad, good)])
    assert (float(one["sum"][0]), float(other["sum"][0])) == (2, 2)
    assert isinstance(refused, InputError)


def test_a_full_queue_is_said_at_once(adder):
    one = np.ones((1, 2), "float32")
    found = batched(adder.ask, [("serving_default", one, 1)] * 5, queue=3)
    assert [isinstance(answer, Full) for answer in found] == [False] * 3 + [True] * 2


def test_a_full_queue_is_status_503(adder):
    with TestClient(Service(adder, "adder", queue=0).app()) as client:
        answer = client.post("/v1/models/adder:predict", content=b'{"instances": [[1.0]]}')
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "queue is full" in answer.json()["error"]


# An export ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers():
    return Exported(locate(EXPORT))


def test_an_export_answers_as_it_does_without_a_server(flowers):
    row = {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2}
    direct = flowers.ask("serving_default", {name: np.array([value], "float32") for name, value in row.items()})
    with TestClient(Service(flowers, "iris").app()) as client:
        status, found = predict(client, {"instances": [row, row]}, "/v1/models/iris:predict")
        assert status == 200
        for prediction in found["predictions"]:
            assert list(prediction) == ["label", "probability", "probabilities", "logits"]
            assert prediction["label"] == direct["label"][0].decode()
            np.testing.assert_allclose(prediction["logits"], direct["logits"][0], rtol=1e-5)
        columns = {"inputs": {name: [value] for name, value in row.items()}}
        assert predict(client, columns, "/v1/models/iris:predict")[1]["outputs"]["label"] == [prediction["label"]]
        described = client.get("/v1/models/iris/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert described["serving_default"]["inputs"]["petal_width_cm"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_petal_width_cm:0",
    }
    assert described["serving_default"]["method_name"] == "tensorflow/serving/predict"


def test_the_highest_version_is_served(tmp_path):
    for version in ("2", "10"):
        shutil.copytree(EXPORT, tmp_path / "flowers" / version)
    assert locate(tmp_path / "flowers").name == "10"
    assert Exported(locate(tmp_path / "flowers")).version == 10


def test_only_an_export_is_opened(tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(EXPORT / "saved_model.pb", other)
    onnx = tmp_path / "onnx"
    onnx.mkdir()
    (onnx / "signature.json").write_text('{"format": "onnx", "signatures": {}}')
    damaged = shutil.copytree(EXPORT, tmp_path / "damaged")
    (damaged / "saved_model.pb").write_bytes((EXPORT / "saved_model.pb").read_bytes()[:1000])
    swapped = shutil.copytree(EXPORT, tmp_path / "swapped")
    (swapped / "signature.json").write_text('{"format": "saved_model", "signatures": {"other": {}}}')
    for folder, hint in (
        (tmp_path / "nowhere", "is no folder"),
        (tmp_path, "is no export"),
        (EXPORT.parent / "lenet", "zoo export"),
        (other, "did not write it"),
        (onnx, "is an export for onnx"),
        (damaged, "cannot be loaded"),
        (swapped, "is damaged"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["serve", str(folder), "--port", "0"])
        out, err = capsys.readouterr()
        assert (stopped.value.code, out, err.count("\n")) == (2, "", 1), err
        assert hint in err


# The command ----------------------------------------------------------------------------------------------------------


def test_a_port_that_cannot_be_had_is_bad_input(capsys):
    with contextlib.closing(listening.bind("127.0.0.1", 0)) as taken:
        for options, said in (
            (["--port", str(taken.getsockname()[1])], "is in use"),
            (["--host", "no.such.host.invalid"], "is no address"),
            (["--host", "192.0.2.1"], "is no address"),
            (["--name", "a/b"], "--name must be"),
        ):
            with pytest.raises(SystemExit) as stopped:
                cli.main(["serve", str(EXPORT), "--port", "0", *options])
            out, err = capsys.readouterr()
            assert (stopped.value.code, out, err.count("\n")) == (2, "", 1), err
            assert said in err


def test_a_privileged_port_is_bad_input(monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match="needs rights"):
        listening.bind("127.0.0.1", 80)


def test_addresses_are_written_for_a_browser():
    with contextlib.closing(listening.bind("127.0.0.1", 0)) as listener:
        assert listening.url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert listening.local(listener)
    with contextlib.closing(listening.bind("0.0.0.0", 0)) as listener:
        assert not listening.local(listener)


def test_numbers_keep_their_type():
    spec = signature(x=("uint8", (None,)))
    assert rest.read_arrays({"instances": [0, 255.0]}, spec)["x"].dtype == np.uint8
    for wrong in (256, -1, 0.5, float("nan")):
        with pytest.raises(InputError, match="whole numbers from 0 to 255"):
            rest.read_arrays({"instances": [wrong]}, spec)
    floats = rest.read_arrays({"instances": [float("nan"), float("inf"), 1]}, signature(x=("float32", (None,))))["x"]
    assert (np.isnan(floats[0]), floats[1], floats[2]) == (True, np.inf, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_once_what_is_in_flight_is_answered(number):
    """A request that waits for others in the batcher is answered although the signal came before."""
    command = [sys.executable, "-m", "zoo", "serve", str(EXPORT), "--port", "0", "--delay", "3000"]
    root = EXPORT.parents[2]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        address = line.split(" on ")[-1].strip()
        row = dict.fromkeys(("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"), 1.0)
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, f"{address}/v1/models/export:predict", json.dumps({"instances": [row]})],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while json.load(urllib.request.urlopen(f"{address}/healthz"))["waiting"] == 0:
            assert time.monotonic() < deadline
        os.kill(process.pid, number)
        answer, _ = client.communicate(timeout=60)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "predictions" in json.loads(answer)
    assert (process.returncode, err.strip().splitlines()[-1:]) == (128 + number, ["Stopped."])


_CLIENT = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], data=sys.argv[2].encode()).read().decode())
"""
