# SPDX-License-Identifier: Apache-2.0
"""Checks a server with the stock gRPC client.

The environment gives the server as MILLRACE_URL and the folder of its models as
MILLRACE_REPOSITORY. The checks change which models are loaded and put it back.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import queue
import unittest

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

URL = os.environ["MILLRACE_URL"]
REPOSITORY = pathlib.Path(os.environ["MILLRACE_REPOSITORY"])
WAIT_SECONDS = 60

LEFT = np.arange(16, dtype=np.int32).reshape(1, 16)
RIGHT = np.ones((1, 16), dtype=np.int32)


def tensor(name, array):
    made = grpcclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def pair(left=LEFT, right=RIGHT):
    """The inputs of the models that give a sum and a difference."""
    return [tensor("INPUT0", left), tensor("INPUT1", right)]


def text(array):
    return np.array([str(value).encode() for value in array.flat], dtype=np.object_).reshape(array.shape)


class ClientCase(unittest.TestCase):
    def setUp(self):
        self.client = grpcclient.InferenceServerClient(URL)
        self.addCleanup(self.client.close)

    def assert_sums(self, result, left=LEFT, right=RIGHT):
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)

    @contextlib.contextmanager
    def assert_refused(self, status, message):
        with self.assertRaises(InferenceServerException) as caught:
            yield
        self.assertEqual(caught.exception.status(), "StatusCode." + status)
        self.assertIn(message, caught.exception.message())


class Metadata(ClientCase):
    def test_health(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("simple"))
        self.assertTrue(self.client.is_model_ready("simple", "1"))
        self.assertFalse(self.client.is_model_ready("unknown"))
        self.assertFalse(self.client.is_model_ready("simple", "9"))

    def test_server(self):
        metadata = self.client.get_server_metadata()
        self.assertEqual(metadata.name, "triton")
        self.assertIn("statistics", metadata.extensions)
        self.assertIn("model_repository", metadata.extensions)

    def test_model(self):
        metadata = self.client.get_model_metadata("simple", as_json=True)
        self.assertEqual(metadata["platform"], "native")
        shapes = {t["name"]: (t["datatype"], t["shape"]) for t in metadata["inputs"] + metadata["outputs"]}
        names = ["INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"]
        self.assertEqual(shapes, {name: ("INT32", ["-1", "16"]) for name in names})

    def test_config(self):
        config = self.client.get_model_config("simple").config
        self.assertEqual((config.name, config.max_batch_size, config.backend), ("simple", 8, "native"))
        self.assertEqual([list(i.dims) for i in config.input], [[16], [16]])
        self.assertTrue(self.client.get_model_config("repeat_int32").config.model_transaction_policy.decoupled)

    def test_index(self):
        states = {(m.name, m.version): m.state for m in self.client.get_model_repository_index().models}
        self.assertEqual(states[("simple", "1")], "READY")
        self.assertEqual(states[("onnx_int32_int32_int32", "3")], "READY")

    def test_statistics(self):
        def counts():
            (stats,) = self.client.get_inference_statistics("simple_int8").model_stats
            return np.array([stats.inference_count, stats.inference_stats.success.count])

        before = counts()
        rows = np.zeros((3, 16), dtype=np.int8)
        self.client.infer("simple_int8", pair(rows, rows))
        np.testing.assert_array_equal(counts() - before, [3, 1])
        self.assertGreater(len(self.client.get_inference_statistics().model_stats), 8)


class Repository(ClientCase):
    def reload_after(self, model):
        self.addCleanup(self.client.load_model, model)

    def test_unload_and_load(self):
        self.reload_after("simple")
        self.client.unload_model("simple")
        self.assertFalse(self.client.is_model_ready("simple"))
        with self.assert_refused("NOT_FOUND", "Request for unknown model: 'simple' has no available versions"):
            self.client.infer("simple", pair())
        self.client.load_model("simple")
        self.assertTrue(self.client.is_model_ready("simple"))
        self.assert_sums(self.client.infer("simple", pair()))

    def test_config_override(self):
        self.reload_after("simple")
        with self.assert_refused("INTERNAL", "failed to load 'simple', failed to poll from model repository"):
            self.client.load_model("simple", config="{max")
        self.client.load_model("simple", config='{"max_batch_size": 16}')
        self.assertEqual(self.client.get_model_config("simple").config.max_batch_size, 16)
        left, right = np.repeat(LEFT, 16, axis=0), np.repeat(RIGHT, 16, axis=0)
        self.assert_sums(self.client.infer("simple", pair(left, right)), left, right)
        self.client.load_model("simple")
        self.assertEqual(self.client.get_model_config("simple").config.max_batch_size, 8)

    def test_file_override(self):
        self.reload_after("simple")
        swapped = (REPOSITORY / "onnx_int32_int32_int32/2/model.onnx").read_bytes()
        self.client.load_model("simple", config='{"max_batch_size": 8}', files={"file:1/model.onnx": swapped})
        result = self.client.infer("simple", pair())
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT - RIGHT)

    def test_corrupt_file_keeps_the_model(self):
        self.reload_after("simple")
        with self.assertRaises(InferenceServerException) as caught:
            self.client.load_model("simple", config="{}", files={"file:1/model.onnx": b"no model"})
        self.assertIn("load failed for model 'simple'", caught.exception.message())
        self.assert_sums(self.client.infer("simple", pair()))

    def test_unknown_model(self):
        with self.assert_refused("INTERNAL", "failed to load 'unknown', failed to poll from model repository"):
            self.client.load_model("unknown")


class Inference(ClientCase):
    def test_integers(self):
        for dtype, model in [(np.int32, "simple"), (np.int8, "simple_int8")]:
            left, right = LEFT.astype(dtype), RIGHT.astype(dtype)
            self.assert_sums(self.client.infer(model, pair(left, right)), left, right)

    def test_strings(self):
        result = self.client.infer("simple_string", pair(text(LEFT), text(RIGHT)))
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), text(LEFT + RIGHT))
        raw = np.array([["", "zero \0 byte", "Bäche"]], dtype=np.object_)
        answer = self.client.infer("simple_identity", [tensor("INPUT0", raw)]).as_numpy("OUTPUT0")
        self.assertEqual([s.decode() for s in answer[0]], list(raw[0]))

    def test_datatypes(self):
        values = np.array([[0, 1, 2, 100]])
        dtypes = [bool, np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]
        dtypes += [np.float16, ml_dtypes.bfloat16, np.float64]
        for dtype in dtypes:
            array = values.astype(dtype)
            model = "identity_" + np_to_triton_dtype(array.dtype).lower()
            with self.subTest(model):
                answer = self.client.infer(model, [tensor("INPUT0", array)]).as_numpy("OUTPUT0")
                self.assertEqual(answer.dtype, array.dtype)
                np.testing.assert_array_equal(answer, array)

    def test_large_message(self):
        array = np.random.default_rng(1).random((1, 4 << 20))
        answer = self.client.infer("identity_fp64", [tensor("INPUT0", array)]).as_numpy("OUTPUT0")
        np.testing.assert_array_equal(answer, array)

    def test_versions(self):
        for version, output in [("1", "OUTPUT0"), ("3", "OUTPUT1"), ("", "OUTPUT1")]:
            result = self.client.infer("onnx_int32_int32_int32", pair(), model_version=version)
            np.testing.assert_array_equal(result.as_numpy(output), LEFT + RIGHT)
            self.assertEqual(result.get_response().model_version, version or "3")

    def test_requested_output_and_id(self):
        wanted = [grpcclient.InferRequestedOutput("OUTPUT1")]
        result = self.client.infer("simple", pair(), outputs=wanted, request_id="r-1")
        self.assertEqual(result.get_response().id, "r-1")
        self.assertIsNone(result.as_numpy("OUTPUT0"))
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), LEFT - RIGHT)

    def test_classification(self):
        wanted = [grpcclient.InferRequestedOutput("OUTPUT0", class_count=2)]
        classes = self.client.infer("simple", pair(), outputs=wanted).as_numpy("OUTPUT0")
        self.assertEqual([c.decode().split(":")[1] for c in classes.flat], ["15", "14"])

    def test_compression(self):
        for algorithm in ["gzip", "deflate"]:
            result = self.client.infer("simple", pair(), compression_algorithm=algorithm)
            self.assert_sums(result)

    def test_parameters(self):
        result = self.client.infer("simple", pair(), priority=1, timeout=100_000_000, parameters={"tenant": "a", "n": 3})
        self.assert_sums(result)

    def test_async(self):
        done = queue.Queue()
        for i in range(64):
            left = np.full((1 + i % 3, 16), i, dtype=np.int32)
            self.client.async_infer(
                "simple",
                pair(left, left),
                lambda result, error, left=left: done.put((left, result, error)),
            )
        for _ in range(64):
            left, result, error = done.get(timeout=WAIT_SECONDS)
            self.assertIsNone(error)
            self.assert_sums(result, left, left)

    def test_reused_objects(self):
        inputs = pair()
        for factor in range(3):
            inputs[0].set_data_from_numpy(LEFT * factor)
            self.assert_sums(self.client.infer("simple", inputs), LEFT * factor, RIGHT)


class Time(ClientCase):
    """Deadlines and cancellation, on a model that takes its time."""

    MODEL = "custom_identity_int32"

    def setUp(self):
        super().setUp()
        config = self.client.get_model_config(self.MODEL, as_json=True)["config"]
        config["parameters"] = {"execute_delay_ms": {"string_value": "3000"}}
        self.client.load_model(self.MODEL, config=json.dumps(config))
        self.addCleanup(self.client.load_model, self.MODEL)

    def test_client_timeout(self):
        with self.assert_refused("DEADLINE_EXCEEDED", ""):
            self.client.infer(self.MODEL, [tensor("INPUT0", LEFT)], client_timeout=0.2)

    def test_cancel(self):
        done = queue.Queue()
        call = self.client.async_infer(self.MODEL, [tensor("INPUT0", LEFT)], lambda result, error: done.put(error))
        call.cancel()
        self.assertEqual(done.get(timeout=WAIT_SECONDS).status(), "StatusCode.CANCELLED")


class Errors(ClientCase):
    def test_requests(self):
        narrow, floats = LEFT[:, :15], LEFT.astype(np.float32)
        nine = np.zeros((9, 16), dtype=np.int32)
        nothing = [grpcclient.InferRequestedOutput("OUTPUT9")]
        cases = [
            ("unknown", pair(), {}, "NOT_FOUND", "Request for unknown model: 'unknown' is not found"),
            ("simple", pair(), {"model_version": "9"}, "NOT_FOUND", "Request for unknown model: 'simple' version 9 is not found"),
            ("simple", pair(), {"model_version": "new"}, "INVALID_ARGUMENT", "failed to get model version from specified version string 'new'"),
            ("simple", pair()[:1], {}, "INVALID_ARGUMENT", "expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) ['INPUT0'], but missing required input(s) ['INPUT1']"),
            ("simple", pair(floats), {}, "INVALID_ARGUMENT", "inference input 'INPUT0' data-type is 'FP32', but model 'simple' expects 'INT32'"),
            ("simple", pair(narrow), {}, "INVALID_ARGUMENT", "unexpected shape for input 'INPUT0' for model 'simple'. Expected [-1,16], got [1,15]"),
            ("simple", pair(nine, nine), {}, "INVALID_ARGUMENT", "inference request batch-size must be <= 8 for 'simple'"),
            ("simple", pair(), {"outputs": nothing}, "INVALID_ARGUMENT", "unexpected inference output 'OUTPUT9' for model 'simple'"),
            ("repeat_int32", repeat([1]), {}, "UNIMPLEMENTED", "ModelInfer RPC doesn't support models with decoupled transaction policy"),
        ]
        for model, inputs, options, status, message in cases:
            with self.subTest(message), self.assert_refused(status, message):
                self.client.infer(model, inputs, **options)
        self.assert_sums(self.client.infer("simple", pair()))


def repeat(values, delay_ms=0):
    """The inputs of the model that answers one request many times."""
    return [
        tensor("IN", np.array(values, dtype=np.int32)),
        tensor("DELAY", np.full(len(values), delay_ms, dtype=np.uint32)),
        tensor("WAIT", np.array([0], dtype=np.uint32)),
    ]


class Streams(ClientCase):
    def setUp(self):
        super().setUp()
        self.answers = queue.Queue()
        self.client.start_stream(lambda result, error: self.answers.put((result, error)))
        self.addCleanup(self.client.stop_stream)

    def next_answer(self):
        return self.answers.get(timeout=WAIT_SECONDS)

    def next_result(self):
        result, error = self.next_answer()
        self.assertIsNone(error)
        return result

    def test_order(self):
        for i in range(100):
            self.client.async_stream_infer("simple", pair(LEFT + i), request_id=str(i))
        for i in range(100):
            result = self.next_result()
            self.assertEqual(result.get_response().id, str(i))
            self.assert_sums(result, LEFT + i, RIGHT)

    def test_decoupled(self):
        values = [4, 2, 0, 1]
        self.client.async_stream_infer("repeat_int32", repeat(values, 1), request_id="r", enable_empty_final_response=True)
        for i, value in enumerate(values):
            result = self.next_result()
            self.assertEqual((result.as_numpy("OUT")[0], result.as_numpy("IDX")[0]), (value, i))
            self.assertFalse(result.get_response().parameters["triton_final_response"].bool_param)
        final = self.next_result().get_response()
        self.assertTrue(final.parameters["triton_final_response"].bool_param)
        self.assertEqual((final.id, len(final.outputs)), ("r", 0))

    def test_errors_leave_the_stream_open(self):
        self.client.async_stream_infer("unknown", pair())
        _, error = self.next_answer()
        self.assertIn("Request for unknown model: 'unknown' is not found", str(error))
        self.client.async_stream_infer("simple", pair())
        self.assert_sums(self.next_result())


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_infer(self):
        async with aioclient.InferenceServerClient(URL) as client:
            self.assertTrue(await client.is_model_ready("simple"))
            results = await asyncio.gather(*(client.infer("simple", pair(LEFT * i)) for i in range(32)))
        for i, result in enumerate(results):
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT * i + RIGHT)

    async def test_stream(self):
        async def requests():
            for i in range(8):
                yield {"model_name": "simple", "inputs": pair(LEFT * i)}

        sums = []
        async with aioclient.InferenceServerClient(URL) as client:
            async for result, error in client.stream_infer(requests()):
                self.assertIsNone(error)
                sums.append(result.as_numpy("OUTPUT0"))
        np.testing.assert_array_equal(sums, [LEFT * i + RIGHT for i in range(8)])


if __name__ == "__main__":
    unittest.main()
