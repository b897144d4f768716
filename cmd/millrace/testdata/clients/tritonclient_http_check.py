# SPDX-License-Identifier: Apache-2.0
"""Checks a server with the stock HTTP client, which sends tensors as JSON here.

The environment gives the server as MILLRACE_URL. The checks change which models
are loaded and put it back.
"""

import os
import unittest

import numpy as np
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

URL = os.environ["MILLRACE_URL"]

LEFT = np.arange(16, dtype=np.int32).reshape(1, 16)
RIGHT = np.ones((1, 16), dtype=np.int32)


def tensor(name, array, binary=False):
    made = httpclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def pair(left=LEFT, right=RIGHT):
    return [tensor("INPUT0", left), tensor("INPUT1", right)]


def wanted(*names):
    return [httpclient.InferRequestedOutput(name, binary_data=False) for name in names]


BOTH = wanted("OUTPUT0", "OUTPUT1")


class HTTP(unittest.TestCase):
    def setUp(self):
        self.client = httpclient.InferenceServerClient(URL, concurrency=4)
        self.addCleanup(self.client.close)

    def assert_sums(self, result):
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), LEFT - RIGHT)

    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("simple"))
        self.assertFalse(self.client.is_model_ready("unknown"))
        self.assertEqual(self.client.get_server_metadata()["name"], "triton")
        self.assertEqual(self.client.get_model_metadata("simple")["inputs"][0]["shape"], [-1, 16])
        self.assertEqual(self.client.get_model_config("simple")["max_batch_size"], 8)
        self.assertIn("READY", [m["state"] for m in self.client.get_model_repository_index() if m["name"] == "simple"])

    def test_infer(self):
        self.assert_sums(self.client.infer("simple", pair(), outputs=BOTH, request_id="r-1", priority=1))
        self.assert_sums(self.client.infer("simple", pair()))  # asks for binary outputs, gets JSON
        for algorithm in ["gzip", "deflate"]:
            result = self.client.infer(
                "simple", pair(), outputs=BOTH, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
            )
            self.assert_sums(result)

    def test_datatypes(self):
        arrays = [np.array([[True, False]]), np.array([[1.5, -2]], dtype=np.float64), np.array([[2**63]], dtype=np.uint64)]
        for array in arrays:
            model = "identity_" + np_to_triton_dtype(array.dtype).lower()
            answer = self.client.infer(model, [tensor("INPUT0", array)], outputs=wanted("OUTPUT0")).as_numpy("OUTPUT0")
            np.testing.assert_array_equal(answer, array)

    def test_strings(self):
        array = np.array([["a", "Bäche"]], dtype=np.object_)
        answer = self.client.infer("simple_identity", [tensor("INPUT0", array)], outputs=wanted("OUTPUT0")).as_numpy("OUTPUT0")
        np.testing.assert_array_equal(answer, array)

    def test_async(self):
        for call in [self.client.async_infer("simple", pair(), outputs=BOTH) for _ in range(16)]:
            self.assert_sums(call.get_result())

    def test_statistics(self):
        self.client.infer("simple", pair(), outputs=BOTH)
        (stats,) = self.client.get_inference_statistics("simple")["model_stats"]
        self.assertGreater(stats["inference_stats"]["success"]["count"], 0)

    def test_model_control(self):
        self.addCleanup(self.client.load_model, "simple")
        self.client.unload_model("simple")
        self.assertFalse(self.client.is_model_ready("simple"))
        self.client.load_model("simple", config='{"max_batch_size": 16}')
        self.assertEqual(self.client.get_model_config("simple")["max_batch_size"], 16)

    def test_errors(self):
        with self.assertRaisesRegex(InferenceServerException, "Request for unknown model: 'unknown' is not found"):
            self.client.infer("unknown", pair(), outputs=BOTH)
        with self.assertRaisesRegex(InferenceServerException, "expected 2 inputs but got 1 inputs for model 'simple'"):
            self.client.infer("simple", pair()[:1], outputs=BOTH)

    def test_binary_data_is_refused_clearly(self):
        binary = [tensor("INPUT0", LEFT, True), tensor("INPUT1", RIGHT, True)]
        with self.assertRaisesRegex(InferenceServerException, "binary tensor data is not supported over REST"):
            self.client.infer("simple", binary, outputs=BOTH)


if __name__ == "__main__":
    unittest.main()
