// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// decodeMessage decodes an encoded message the way the codec does.
func decodeMessage(t testing.TB, encoded []byte) (*request, error) {
	t.Helper()
	r := newRequest()
	t.Cleanup(r.release)
	return r, r.decode(mem.BufferSlice{mem.SliceBuffer(encoded)})
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func floatBytes(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func TestDecodeAgreesWithProtobuf(t *testing.T) {
	q := &inference.ModelInferRequest{
		ModelName: "ranker", ModelVersion: "3", Id: "request-7",
		Parameters: map[string]*inference.InferParameter{
			"priority": {ParameterChoice: &inference.InferParameter_Uint64Param{Uint64Param: 2}},
			"timeout":  {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 1500}},
			"note":     {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "x"}},
		},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: "a", Datatype: "FP32", Shape: []int64{2, 3}},
			{Name: "b", Datatype: "BYTES", Shape: []int64{1}},
		},
		Outputs: []*inference.ModelInferRequest_InferRequestedOutputTensor{
			{Name: "y", Parameters: map[string]*inference.InferParameter{"classification": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 4}}}},
		},
		RawInputContents: [][]byte{floatBytes(1, 2, 3, 4, 5, 6), tensor.AppendBytes(nil, []byte("hi"))},
	}
	r, err := decodeMessage(t, encoded(t, q))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.modelName) != "ranker" || string(r.version) != "3" || string(r.id) != "request-7" {
		t.Errorf("names: %q %q %q", r.modelName, r.version, r.id)
	}
	if r.params.priority != 2 || r.params.timeoutMicros != 1500 || r.params.bad != "" {
		t.Errorf("parameters: %+v", r.params)
	}
	if len(r.inputs) != 2 || r.inputs[0].datatype != tensor.FP32 || r.shape(&r.inputs[0]).String() != "[2,3]" || r.inputs[1].datatype != tensor.Bytes {
		t.Errorf("inputs: %+v dims %v", r.inputs, r.dims)
	}
	if len(r.outputs) != 1 || string(r.outputs[0].name) != "y" || r.outputs[0].classification != 4 {
		t.Errorf("outputs: %+v", r.outputs)
	}
	if len(r.raw) != 2 || string(r.raw[0]) != string(q.RawInputContents[0]) || string(r.raw[1]) != string(q.RawInputContents[1]) {
		t.Errorf("raw: %v", r.raw)
	}
}

func TestTypedContentsTakeTheWireLayout(t *testing.T) {
	cases := []struct {
		datatype string
		contents *inference.InferTensorContents
		want     []byte
	}{
		{"BOOL", &inference.InferTensorContents{BoolContents: []bool{true, false, true}}, []byte{1, 0, 1}},
		{"INT8", &inference.InferTensorContents{IntContents: []int32{-1, 127, -128}}, []byte{0xff, 0x7f, 0x80}},
		{"INT16", &inference.InferTensorContents{IntContents: []int32{-2}}, []byte{0xfe, 0xff}},
		{"INT32", &inference.InferTensorContents{IntContents: []int32{-3, 7}}, []byte{0xfd, 0xff, 0xff, 0xff, 7, 0, 0, 0}},
		{"INT64", &inference.InferTensorContents{Int64Contents: []int64{-4}}, []byte{0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"UINT8", &inference.InferTensorContents{UintContents: []uint32{255}}, []byte{255}},
		{"UINT16", &inference.InferTensorContents{UintContents: []uint32{65535}}, []byte{255, 255}},
		{"UINT32", &inference.InferTensorContents{UintContents: []uint32{1 << 31}}, []byte{0, 0, 0, 0x80}},
		{"UINT64", &inference.InferTensorContents{Uint64Contents: []uint64{1 << 63}}, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}},
		{"FP32", &inference.InferTensorContents{Fp32Contents: []float32{1.5, -2}}, floatBytes(1.5, -2)},
		{"FP64", &inference.InferTensorContents{Fp64Contents: []float64{0.25}}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.25))},
		{"BYTES", &inference.InferTensorContents{BytesContents: [][]byte{[]byte("ab"), nil}}, []byte{2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0}},
	}
	for _, c := range cases {
		q := &inference.ModelInferRequest{Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: c.datatype, Contents: c.contents}}}
		r, err := decodeMessage(t, encoded(t, q))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.typedContents(&r.inputs[0])
		if err != nil || string(got) != string(c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.datatype, got, err, c.want)
		}
	}
}

// TestTypedContentsInParts: a packed field may come in any number of parts.
func TestTypedContentsInParts(t *testing.T) {
	part := func(values ...float32) []byte { return appendBytesField(nil, 6, floatBytes(values...)) }
	single := binary.LittleEndian.AppendUint32(appendTag(nil, 6, wireFixed32), math.Float32bits(3))
	r := newRequest()
	defer r.release()
	in := requestInput{datatype: tensor.FP32, contents: append(append(part(1, 2), single...), part(4)...), hasContents: true}
	got, err := r.typedContents(&in)
	if err != nil || string(got) != string(floatBytes(1, 2, 3, 4)) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestTypedContentsRefuse(t *testing.T) {
	cases := []struct {
		name, datatype string
		contents       *inference.InferTensorContents
		want           string
	}{
		{"another type", "INT32", &inference.InferTensorContents{Fp32Contents: []float32{1}}, "contents are of datatype FP32"},
		{"no field for FP16", "FP16", &inference.InferTensorContents{Fp32Contents: []float32{1}}, "contents are of datatype FP32"},
		{"two types", "INT32", &inference.InferTensorContents{IntContents: []int32{1}, Int64Contents: []int64{2}}, "two datatypes"},
		{"out of range", "INT8", &inference.InferTensorContents{IntContents: []int32{128}}, "does not fit in INT8"},
		{"out of range", "UINT16", &inference.InferTensorContents{UintContents: []uint32{1 << 16}}, "does not fit in UINT16"},
	}
	for _, c := range cases {
		q := &inference.ModelInferRequest{Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: c.datatype, Contents: c.contents}}}
		r, err := decodeMessage(t, encoded(t, q))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.typedContents(&r.inputs[0]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestDecodeRefusesMalformedMessages(t *testing.T) {
	whole := encoded(t, &inference.ModelInferRequest{
		ModelName: "m", Id: "1",
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "FP32", Shape: []int64{1, 300}}},
		RawInputContents: [][]byte{make([]byte, 16)},
	})
	if _, err := decodeMessage(t, whole); err != nil {
		t.Fatal(err)
	}
	// Cut inside the last field, a message is never taken for whole.
	for n := len(whole) - 1; n > len(whole)-17; n-- {
		if _, err := decodeMessage(t, whole[:n]); err == nil {
			t.Errorf("a message cut to %d of %d bytes was accepted", n, len(whole))
		}
	}
	cases := map[string][]byte{
		"group":            {0x0b},
		"field zero":       {0x02, 0x00},
		"endless varint":   {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"length past end":  {0x0a, 0x7f, 'm'},
		"id not UTF-8":     appendBytesField(nil, 3, "\xff\xfe"),
		"name not UTF-8":   appendBytesField(nil, 1, "\xc3\x28"),
		"dimension cut":    appendBytesField(nil, 5, appendBytesField(nil, 3, []byte{0x80})),
		"too many inputs":  []byte(strings.Repeat(string(appendBytesField(nil, 5, "")), requestTensorsMax+1)),
		"too many dims":    appendBytesField(nil, 5, appendBytesField(nil, 3, make([]byte, tensorRankMax+1))),
		"too many outputs": []byte(strings.Repeat(string(appendBytesField(nil, 6, "")), requestTensorsMax+1)),
	}
	for name, message := range cases {
		if _, err := decodeMessage(t, message); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParameterFaults(t *testing.T) {
	boolean := &inference.InferParameter{ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}
	text := &inference.InferParameter{ParameterChoice: &inference.InferParameter_StringParam{StringParam: "1"}}
	negative := &inference.InferParameter{ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: -1}}
	cases := []struct {
		name  string
		value *inference.InferParameter
		want  string
	}{
		{"sequence_id", boolean, "invalid value type for 'sequence_id' parameter, expected int64_param or string_param."},
		{"sequence_start", text, "invalid value type for 'sequence_start' parameter, expected bool_param."},
		{"sequence_end", text, "invalid value type for 'sequence_end' parameter, expected bool_param."},
		{"priority", text, "invalid value type for 'priority' parameter, expected int64_param or uint64_param."},
		{"priority", negative, "invalid value for 'priority', expected value >= 0."},
		{"timeout", text, "invalid value type for 'timeout' parameter, expected int64_param."},
		{"triton_secret", text, "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with 'triton_' are allowed: triton_enable_empty_final_response"},
		{"free", &inference.InferParameter{}, "invalid value type for 'free' parameter, expected int64_param, bool_param, or string_param."},
		{"free", boolean, ""},
	}
	for _, c := range cases {
		q := &inference.ModelInferRequest{Parameters: map[string]*inference.InferParameter{c.name: c.value}}
		r, err := decodeMessage(t, encoded(t, q))
		if err != nil {
			t.Fatal(err)
		}
		if r.params.bad != c.want {
			t.Errorf("%s: got %q, want %q", c.name, r.params.bad, c.want)
		}
	}
}

func TestReplyAgreesWithProtobuf(t *testing.T) {
	head := appendBytesField(appendBytesField(nil, replyModelName, "m"), replyVersion, "12")
	outputs := []tensor.Tensor{
		{Name: "y", Datatype: tensor.FP32, Shape: tensor.Shape{2, 300}, Data: make([]byte, 2400)},
		{Name: "empty", Datatype: tensor.Bytes, Shape: tensor.Shape{0}},
	}
	reply, err := encodeReply(head, []byte("id-1"), nil, outputs, false, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var got inference.ModelInferResponse
	if err := proto.Unmarshal(*reply, &got); err != nil {
		t.Fatal(err)
	}
	want := &inference.ModelInferResponse{
		ModelName: "m", ModelVersion: "12", Id: "id-1",
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "y", Datatype: "FP32", Shape: []int64{2, 300}},
			{Name: "empty", Datatype: "BYTES", Shape: []int64{0}},
		},
		RawOutputContents: [][]byte{make([]byte, 2400), {}},
	}
	if !proto.Equal(&got, want) {
		t.Errorf("got  %v\nwant %v", &got, want)
	}

	if reply, err = encodeReply(head, []byte("id-1"), finalTrue, outputs[:1], true, 1<<20); err != nil {
		t.Fatal(err)
	}
	var streamed inference.ModelStreamInferResponse
	if err := proto.Unmarshal(*reply, &streamed); err != nil {
		t.Fatal(err)
	}
	if p := streamed.InferResponse.Parameters["triton_final_response"]; !p.GetBoolParam() || streamed.ErrorMessage != "" {
		t.Errorf("streamed: %v", &streamed)
	}

	reply = encodeStreamError("went wrong", head, []byte("id-2"))
	streamed.Reset()
	if err := proto.Unmarshal(*reply, &streamed); err != nil {
		t.Fatal(err)
	}
	if streamed.ErrorMessage != "went wrong" || streamed.InferResponse.Id != "id-2" || streamed.InferResponse.ModelName != "m" {
		t.Errorf("error: %v", &streamed)
	}
}

// FuzzDecode feeds the request decoder arbitrary bytes. It must not panic, and it
// must agree with protobuf on what it accepts.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(encoded(f, &inference.ModelInferRequest{
		ModelName: "m", ModelVersion: "1", Id: "i",
		Parameters:       map[string]*inference.InferParameter{"priority": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 1}}},
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "INT8", Shape: []int64{1, 2}, Contents: &inference.InferTensorContents{IntContents: []int32{1, 2}}}},
		Outputs:          []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "y"}},
		RawInputContents: [][]byte{{1, 2}},
	}))
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := decodeMessage(t, message)
		if err != nil {
			return
		}
		var want inference.ModelInferRequest
		if proto.Unmarshal(message, &want) != nil {
			return // protobuf also checks the UTF-8 of names that are only compared here
		}
		if string(r.modelName) != want.ModelName || string(r.id) != want.Id || len(r.raw) != len(want.RawInputContents) || len(r.inputs) != len(want.Inputs) {
			t.Fatalf("decoded %q %q, %d raw, %d inputs; protobuf has %v", r.modelName, r.id, len(r.raw), len(r.inputs), &want)
		}
		for i := range r.inputs {
			if got := r.shape(&r.inputs[i]).String(); got != tensor.Shape(want.Inputs[i].Shape).String() {
				t.Fatalf("input %d has shape %s, protobuf has %v", i, got, want.Inputs[i].Shape)
			}
			r.typedContents(&r.inputs[i])
		}
	})
}
