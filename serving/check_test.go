// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

const pairConfig = `
backend: "identity"
max_batch_size: 8
input [ { name: "A" data_type: TYPE_INT32 dims: [ 16 ] }, { name: "B" data_type: TYPE_INT32 dims: [ 16 ] } ]
output [ { name: "C" data_type: TYPE_INT32 dims: [ 16 ] }, { name: "D" data_type: TYPE_INT32 dims: [ 16 ] } ]
dynamic_batching { }
`

const textConfig = `
backend: "identity"
max_batch_size: 8
input { name: "T" data_type: TYPE_STRING dims: [ -1 ] }
output { name: "U" data_type: TYPE_STRING dims: [ -1 ] }
dynamic_batching { }
`

const optionalConfig = `
backend: "identity"
max_batch_size: 8
input [ { name: "A" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "B" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]
output [ { name: "C" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "D" data_type: TYPE_FP32 dims: [ 1 ] } ]
`

const repeatConfig = `
backend: "repeat"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [ { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] }, { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] }, { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] } ]
`

func input(name, datatype string, shape ...int64) *inference.ModelInferRequest_InferInputTensor {
	return &inference.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape}
}

// pairRequest is a request that the model of pairConfig answers.
func pairRequest() *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: "pair", Id: "7",
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{input("A", "INT32", 1, 16), input("B", "INT32", 1, 16)},
		RawInputContents: [][]byte{make([]byte, 64), make([]byte, 64)},
	}
}

func textRequest(data []byte, shape ...int64) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: "text", Inputs: []*inference.ModelInferRequest_InferInputTensor{input("T", "BYTES", shape...)}, RawInputContents: [][]byte{data},
	}
}

// TestInferRefusals holds every refusal of a request to the code and the words that
// clients of the protocol know.
func TestInferRefusals(t *testing.T) {
	ts := startServer(t, modelFiles{
		"pair/config.pbtxt": pairConfig, "text/config.pbtxt": textConfig, "optional/config.pbtxt": optionalConfig,
		"repeat/config.pbtxt": repeatConfig, "unloaded/config.pbtxt": pairConfig,
	})
	if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "unloaded"}); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*inference.ModelInferRequest)) *inference.ModelInferRequest {
		q := pairRequest()
		f(q)
		return q
	}
	const prefix, noID = "[request id: 7] ", "[request id: <id_unknown>] "
	hello := tensor.AppendBytes(nil, []byte("hello"))
	cases := []struct {
		name    string
		request *inference.ModelInferRequest
		code    codes.Code
		text    string
	}{
		{"empty message", &inference.ModelInferRequest{}, codes.NotFound, "Request for unknown model: '' is not found"},
		{"unknown model", change(func(q *inference.ModelInferRequest) { q.ModelName = "nope" }), codes.NotFound, "Request for unknown model: 'nope' is not found"},
		{"unknown version", change(func(q *inference.ModelInferRequest) { q.ModelVersion = "9" }), codes.NotFound, "Request for unknown model: 'pair' version 9 is not found"},
		{"no ready version", change(func(q *inference.ModelInferRequest) { q.ModelName = "unloaded" }), codes.NotFound, "Request for unknown model: 'unloaded' has no available versions"},
		{"version not ready", change(func(q *inference.ModelInferRequest) { q.ModelName, q.ModelVersion = "unloaded", "1" }), codes.Unavailable, "Request for unknown model: 'unloaded' version 1 is not at ready state"},
		{"version no number", change(func(q *inference.ModelInferRequest) { q.ModelVersion = "wrong" }), codes.InvalidArgument, "failed to get model version from specified version string 'wrong' (details: stol), version should be an integral value > 0"},
		{"negative version", change(func(q *inference.ModelInferRequest) { q.ModelVersion = "-1" }), codes.InvalidArgument, "invalid model version specified '-1' , version should be an integral value > 0"},
		{"decoupled on unary", change(func(q *inference.ModelInferRequest) { q.ModelName = "repeat" }), codes.Unimplemented, "ModelInfer RPC doesn't support models with decoupled transaction policy"},
		{"wrong datatype", change(func(q *inference.ModelInferRequest) { q.Inputs[0].Datatype = "FP32" }), codes.InvalidArgument, prefix + "inference input 'A' data-type is 'FP32', but model 'pair' expects 'INT32'"},
		{"no datatype", change(func(q *inference.ModelInferRequest) { q.Inputs[0].Datatype = "" }), codes.InvalidArgument, prefix + "inference input 'A' data-type is '', but model 'pair' expects 'INT32'"},
		{"wrong shape", change(func(q *inference.ModelInferRequest) { q.Inputs[1].Shape = []int64{1, 15} }), codes.InvalidArgument, prefix + "unexpected shape for input 'B' for model 'pair'. Expected [-1,16], got [1,15]. NOTE: Setting a non-zero max_batch_size"},
		{"wrong rank", change(func(q *inference.ModelInferRequest) { q.Inputs[1].Shape = []int64{1, 16, 1} }), codes.InvalidArgument, prefix + "unexpected shape for input 'B' for model 'pair'. Expected [-1,16], got [1,16,1]. "},
		{"unspecified dimension", change(func(q *inference.ModelInferRequest) { q.Inputs[0].Shape = []int64{1, -1} }), codes.InvalidArgument, prefix + "All input dimensions should be specified for input 'A' for model 'pair', got [1,-1]"},
		{"no batch dimension", change(func(q *inference.ModelInferRequest) { q.Inputs[0].Shape = nil }), codes.InvalidArgument, prefix + "input 'A' has no shape but model requires batch dimension for 'pair'"},
		{"batch mismatch", change(func(q *inference.ModelInferRequest) { q.Inputs[1].Shape = []int64{2, 16} }), codes.InvalidArgument, prefix + "input 'B' batch size does not match other inputs for 'pair'"},
		{"batch too large", change(func(q *inference.ModelInferRequest) {
			q.Inputs[0].Shape, q.Inputs[1].Shape = []int64{9, 16}, []int64{9, 16}
		}), codes.InvalidArgument, prefix + "inference request batch-size must be <= 8 for 'pair'"},
		{"batch of none", change(func(q *inference.ModelInferRequest) {
			q.Inputs[0].Shape, q.Inputs[1].Shape = []int64{0, 16}, []int64{0, 16}
		}), codes.InvalidArgument, prefix + "inference request batch-size must be >= 1 for 'pair', got 0"},
		{"absurd shape", change(func(q *inference.ModelInferRequest) {
			q.ModelName, q.Inputs = "text", []*inference.ModelInferRequest_InferInputTensor{input("T", "BYTES", 1, 1<<62)}
		}), codes.InvalidArgument, prefix + "expected 4611686018427387904 string elements for inference input 'T' for model 'text', got 16"},
		{"missing input", change(func(q *inference.ModelInferRequest) {
			q.Inputs, q.RawInputContents = q.Inputs[:1], q.RawInputContents[:1]
		}), codes.InvalidArgument, prefix + "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['A'], but missing required input(s) ['B']. Please provide all required input(s)."},
		{"missing with optional", &inference.ModelInferRequest{ModelName: "optional"}, codes.InvalidArgument, noID + "expected number of inputs between 1 and 2 but got 0 inputs for model 'optional'."},
		{"surplus input", change(func(q *inference.ModelInferRequest) {
			q.Inputs = append(q.Inputs, input("Z", "INT32", 1, 16))
			q.RawInputContents = append(q.RawInputContents, make([]byte, 64))
		}), codes.InvalidArgument, prefix + "expected 2 inputs but got 3 inputs for model 'pair'."},
		{"unknown input", change(func(q *inference.ModelInferRequest) { q.Inputs[1].Name = "Z" }), codes.InvalidArgument, "unexpected inference input 'Z' for model 'pair'"},
		{"duplicate input", change(func(q *inference.ModelInferRequest) { q.Inputs[1].Name = "A" }), codes.InvalidArgument, prefix + "input 'A' already exists in request"},
		{"unknown output", change(func(q *inference.ModelInferRequest) {
			q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "Z"}}
		}), codes.InvalidArgument, "unexpected inference output 'Z' for model 'pair'"},
		{"duplicate output", change(func(q *inference.ModelInferRequest) {
			q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "C"}, {Name: "C"}}
		}), codes.InvalidArgument, prefix + "output 'C' already exists in request"},
		{"raw too short", change(func(q *inference.ModelInferRequest) { q.RawInputContents[0] = make([]byte, 60) }), codes.InvalidArgument, prefix + "input byte size mismatch for input 'A' for model 'pair'. Expected 64, got 60"},
		{"raw too long", change(func(q *inference.ModelInferRequest) { q.RawInputContents[0] = make([]byte, 68) }), codes.InvalidArgument, prefix + "input byte size mismatch for input 'A' for model 'pair'. Expected 64, got 68"},
		{"no raw entry left", change(func(q *inference.ModelInferRequest) { q.RawInputContents = q.RawInputContents[:1] }), codes.InvalidArgument, "unable to find data for input tensor 'B' for model 'pair' in request."},
		{"no data at all", change(func(q *inference.ModelInferRequest) { q.RawInputContents = nil }), codes.InvalidArgument, "unable to find data for input tensor 'A' for model 'pair' in request."},
		{"raw and typed", change(func(q *inference.ModelInferRequest) {
			q.Inputs[0].Contents = &inference.InferTensorContents{IntContents: make([]int32, 16)}
		}), codes.InvalidArgument, "contents field must not be specified when using raw_input_contents for 'A' for model 'pair'"},
		{"typed of another type", change(func(q *inference.ModelInferRequest) {
			q.RawInputContents = nil
			q.Inputs[0].Contents = &inference.InferTensorContents{Fp32Contents: make([]float32, 16)}
		}), codes.InvalidArgument, "unexpected explicit tensor data for input tensor 'A' for model 'pair' of type 'FP32', expected datatype 'INT32'"},
		{"typed of two types", change(func(q *inference.ModelInferRequest) {
			q.RawInputContents = nil
			q.Inputs[0].Contents = &inference.InferTensorContents{IntContents: make([]int32, 16), Int64Contents: []int64{1}}
		}), codes.InvalidArgument, "unexpected explicit tensor data for input tensor 'A' for model 'pair', binary data was already supplied."},
		{"string length cut", textRequest(hello[:3], 1, 1), codes.InvalidArgument, noID + "incomplete string length indicator for inference input 'T' for model 'text', expecting 4 bytes but only 3 bytes available."},
		{"string cut", textRequest(hello[:6], 1, 1), codes.InvalidArgument, noID + "incomplete string data for inference input 'T' for model 'text'"},
		{"too few strings", textRequest(hello, 1, 2), codes.InvalidArgument, noID + "expected 2 string elements for inference input 'T' for model 'text', got 1"},
		{"too many strings", textRequest(append(hello, hello...), 1, 1), codes.InvalidArgument, noID + "unexpected number of string elements 2 for inference input 'T' for model 'text', expecting 1"},
		{"bad parameter", change(func(q *inference.ModelInferRequest) {
			q.Parameters = map[string]*inference.InferParameter{"timeout": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "1"}}}
		}), codes.InvalidArgument, "invalid value type for 'timeout' parameter, expected int64_param."},
		{"classification of none", change(func(q *inference.ModelInferRequest) {
			q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "C", Parameters: map[string]*inference.InferParameter{"classification": {ParameterChoice: &inference.InferParameter_Int64Param{}}}}}
		}), codes.InvalidArgument, "invalid value for 'classification' parameter, expected >= 0"},
		{"shared memory", change(func(q *inference.ModelInferRequest) {
			q.Inputs[0].Parameters = map[string]*inference.InferParameter{"shared_memory_region": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "r"}}}
		}), codes.Unimplemented, "shared memory regions are not supported"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := ts.inference.ModelInfer(testContext(t), c.request)
			if status.Code(err) != c.code || !strings.HasPrefix(status.Convert(err).Message(), c.text) {
				t.Errorf("got  %v %q\nwant %v %q", status.Code(err), status.Convert(err).Message(), c.code, c.text)
			}
			// The server goes on serving, and answers the same in band on a stream.
			if _, err := ts.inference.ModelInfer(testContext(t), pairRequest()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if c.code == codes.Unimplemented && c.request.ModelName == "repeat" {
				return // streams do serve decoupled models
			}
			stream, err := ts.inference.ModelStreamInfer(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(c.request); err != nil {
				t.Fatal(err)
			}
			answer, err := stream.Recv()
			if err != nil || !strings.HasPrefix(answer.ErrorMessage, c.text) || answer.InferResponse.GetId() != c.request.Id {
				t.Errorf("on a stream: %v, %v", answer, err)
			}
			stream.CloseSend()
		})
	}
}

// TestSurplusRawContentsAreIgnored, as the protocol's reference does.
func TestSurplusRawContentsAreIgnored(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	q := pairRequest()
	q.RawInputContents = append(q.RawInputContents, []byte("more"))
	if _, err := ts.inference.ModelInfer(testContext(t), q); err != nil {
		t.Error(err)
	}
}

// TestMalformedMessage sends bytes that are no message at all.
func TestMalformedMessage(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	whole := encoded(t, pairRequest())
	for name, message := range map[string][]byte{"cut": whole[:len(whole)-1], "not UTF-8": appendBytesField(nil, 1, "\xff")} {
		err := ts.conn.Invoke(testContext(t), inference.GRPCInferenceService_ModelInfer_FullMethodName, rawMessage(message), &inference.ModelInferResponse{}, forceRaw())
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "malformed ModelInferRequest") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOutputsAreSelected: only what is asked for is answered, in that order.
func TestOutputsAreSelected(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	q := pairRequest()
	q.RawInputContents[1][0] = 42
	q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "D"}}
	answer, err := ts.inference.ModelInfer(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Outputs) != 1 || answer.Outputs[0].Name != "D" || len(answer.RawOutputContents) != 1 || answer.RawOutputContents[0][0] != 42 {
		t.Errorf("answer: %v", answer)
	}
	q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "D"}, {Name: "C"}}
	if answer, err = ts.inference.ModelInfer(testContext(t), q); err != nil {
		t.Fatal(err)
	}
	if len(answer.Outputs) != 2 || answer.Outputs[0].Name != "D" || answer.RawOutputContents[0][0] != 42 || answer.RawOutputContents[1][0] != 0 {
		t.Errorf("answer: %v", answer)
	}
}

// TestClassification answers the highest values with their indices and labels.
func TestClassification(t *testing.T) {
	ts := startServer(t, modelFiles{
		"c/config.pbtxt": `backend: "identity" max_batch_size: 4
			input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }
			output { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }`,
		"c/labels.txt": "cat\ndog\nfox\n",
	})
	q := identityRequest("c", 0.5, 3, -1, 7, 1, 0, 0, 0)
	q.Inputs[0].Shape = []int64{2, 4}
	q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "Y", Parameters: map[string]*inference.InferParameter{"classification": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 2}}}}}
	answer, err := ts.inference.ModelInfer(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rest := answer.RawOutputContents[0]; len(rest) > 0; {
		var element []byte
		if element, rest, err = tensor.NextBytes(rest); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(element))
	}
	want := "7.000000:3 3.000000:1:dog 1.000000:0:cat 0.000000:1:dog"
	if strings.Join(got, " ") != want || answer.Outputs[0].Datatype != "BYTES" || !proto.Equal(answer.Outputs[0], &inference.ModelInferResponse_InferOutputTensor{Name: "Y", Datatype: "BYTES", Shape: []int64{2, 2}}) {
		t.Errorf("got %v %v", got, answer.Outputs[0])
	}
}
