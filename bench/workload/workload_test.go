// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

func decodeRequest(t *testing.T, encoded []byte) *inference.ModelInferRequest {
	t.Helper()
	var request inference.ModelInferRequest
	if err := proto.Unmarshal(encoded, &request); err != nil {
		t.Fatal(err)
	}
	return &request
}

func TestRandomRequestsFitTheModel(t *testing.T) {
	inputs := []Input{
		{"dense", tensor.FP32, tensor.Shape{-1, 4}},
		{"open", tensor.Int64, tensor.Shape{-1, -1}},
		{"words", tensor.Bytes, tensor.Shape{-1, 2}},
	}
	w, err := Random(inputs, Spec{Model: "m", Version: "2", Rows: 3, Distinct: 5, Shapes: map[string]tensor.Shape{"open": {7}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Requests) != 5 || w.Rows != 3 {
		t.Fatalf("%d requests of %d rows, want 5 of 3", len(w.Requests), w.Rows)
	}
	request := decodeRequest(t, w.Requests[0])
	if request.ModelName != "m" || request.ModelVersion != "2" || len(request.Inputs) != 3 {
		t.Errorf("the request is %v", request)
	}
	for i, want := range []tensor.Shape{{3, 4}, {3, 7}, {3, 2}} {
		in := request.Inputs[i]
		if in.Name != inputs[i].Name || in.Datatype != inputs[i].Datatype.String() || !want.Matches(in.Shape) {
			t.Errorf("input %d is %v, want shape %v", i, in, want)
		}
	}
	if got := len(request.RawInputContents[0]); got != 3*4*4 {
		t.Errorf("the dense input has %d bytes, want %d", got, 3*4*4)
	}
	if n, err := tensor.SkipBytes(request.RawInputContents[2], 6); err != nil || n != len(request.RawInputContents[2]) {
		t.Errorf("the texts take %d of %d bytes, %v", n, len(request.RawInputContents[2]), err)
	}
}

func TestSeedDecidesData(t *testing.T) {
	make := func(seed uint64) []byte {
		w, err := Random([]Input{{"x", tensor.FP64, tensor.Shape{8}}}, Spec{Model: "m", Seed: seed, Distinct: 2})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(w.Requests[0], w.Requests[1]) {
			t.Error("two distinct requests are equal")
		}
		return w.Requests[0]
	}
	if !bytes.Equal(make(1), make(1)) {
		t.Error("equal seeds give different requests")
	}
	if bytes.Equal(make(1), make(2)) {
		t.Error("different seeds give equal requests")
	}
}

func TestRandomFloatsAreFiniteAndSmall(t *testing.T) {
	for _, datatype := range []tensor.Datatype{tensor.FP16, tensor.BF16, tensor.FP32, tensor.FP64} {
		w, err := Random([]Input{{"x", datatype, tensor.Shape{1000}}}, Spec{Model: "m", Distinct: 1})
		if err != nil {
			t.Fatal(err)
		}
		data := decodeRequest(t, w.Requests[0]).RawInputContents[0]
		decode, _ := floatDecoder(datatype)
		negative := 0
		for ; len(data) > 0; data = data[datatype.Size():] {
			v := decode(data)
			if math.IsNaN(v) || math.Abs(v) > 1 {
				t.Fatalf("%v: element %g is not between -1 and 1", datatype, v)
			}
			if v < 0 {
				negative++
			}
		}
		if negative < 400 || negative > 600 {
			t.Errorf("%v: %d of 1000 elements are negative", datatype, negative)
		}
	}
}

func TestRequestsThatCannotBeMade(t *testing.T) {
	batched := Input{"x", tensor.FP32, tensor.Shape{-1, 4}}
	for name, c := range map[string]struct {
		input Input
		spec  Spec
		text  string
	}{
		"open extent":     {Input{"x", tensor.FP32, tensor.Shape{-1, -1}}, Spec{}, "--shape x:"},
		"unknown input":   {batched, Spec{Shapes: map[string]tensor.Shape{"y": {1}}}, `input "y"`},
		"rank":            {batched, Spec{Shapes: map[string]tensor.Shape{"x": {1, 2, 3}}}, "[1,2,3] was given"},
		"extent":          {batched, Spec{Shapes: map[string]tensor.Shape{"x": {2, 5}}}, "[2,5]"},
		"no batch":        {Input{"x", tensor.FP32, tensor.Shape{4}}, Spec{Rows: 2}, "no batch dimension"},
		"datatype":        {Input{"x", tensor.Invalid, tensor.Shape{4}}, Spec{}, "datatype"},
		"overflow":        {Input{"x", tensor.FP32, tensor.Shape{math.MaxInt64, 4}}, Spec{}, "does not fit"},
		"several GiB":     {batched, Spec{Rows: 1 << 28}, "does not fit"},
		"negative extent": {batched, Spec{Shapes: map[string]tensor.Shape{"x": {-5}}}, "open extent"},
	} {
		c.spec.Model = "m"
		_, err := Random([]Input{c.input}, c.spec)
		if !errors.Is(err, ErrInvalidWorkload) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error is %v, want one with %q", name, err, c.text)
		}
	}
}

func TestMemoryOfRequestsIsBounded(t *testing.T) {
	for _, c := range []struct {
		asked int
		bytes int64
		want  int
	}{{0, 100, 64}, {10, 100, 10}, {1000, 100 << 20, 2}, {3, 1 << 30, 1}} {
		if got := distinctRequests(c.asked, c.bytes); got != c.want {
			t.Errorf("%d distinct requests of %d bytes, want %d", got, c.bytes, c.want)
		}
	}
}

func floats(values ...float32) []byte {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func answerOf(version string, out tensor.Tensor) []byte {
	encoded, err := proto.Marshal(&inference.ModelInferResponse{
		ModelName: "m", ModelVersion: version,
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{{
			Name: out.Name, Datatype: out.Datatype.String(), Shape: out.Shape,
		}},
		RawOutputContents: [][]byte{out.Data},
	})
	if err != nil {
		panic(err)
	}
	return encoded
}

func TestAnswersAreCheckedAgainstTheirVersion(t *testing.T) {
	w := New("m", "", 1)
	output := func(name string, values ...float32) tensor.Tensor {
		return tensor.Tensor{Name: name, Datatype: tensor.FP32, Shape: tensor.Shape{1, int64(len(values))}, Data: floats(values...)}
	}
	if err := w.Check(0, answerOf("1", output("y", 7))); err != nil {
		t.Errorf("a workload that expects nothing refused an answer: %v", err)
	}
	w.Expect("1", 0, []tensor.Tensor{output("y", 1, 1000)})
	w.Expect("2", 0, []tensor.Tensor{output("y", 2, 1000)})

	for name, c := range map[string]struct {
		answer []byte
		right  bool
	}{
		"exact":                 {answerOf("1", output("y", 1, 1000)), true},
		"rounded":               {answerOf("1", output("y", 1.00001, 1000.05)), true},
		"the other version's":   {answerOf("2", output("y", 2, 1000)), true},
		"of the wrong version":  {answerOf("2", output("y", 1, 1000)), false},
		"of an unknown version": {answerOf("3", output("y", 1, 1000)), false},
		"off":                   {answerOf("1", output("y", 1.001, 1000)), false},
		"not a number":          {answerOf("1", output("y", float32(math.NaN()), 1000)), false},
		"misnamed":              {answerOf("1", output("z", 1, 1000)), false},
		"short":                 {answerOf("1", output("y", 1)), false},
		"not protobuf":          {[]byte{0xff}, false},
	} {
		err := w.Check(0, c.answer)
		if c.right && err != nil || !c.right && !errors.Is(err, ErrWrongAnswer) {
			t.Errorf("an answer that is %s: error is %v", name, err)
		}
	}
	if err := w.Check(1, answerOf("1", output("y", 1, 1000))); !errors.Is(err, ErrWrongAnswer) {
		t.Errorf("an answer to an unknown request: error is %v", err)
	}
}

func TestTypedAnswersEqualRawOnes(t *testing.T) {
	for datatype, contents := range map[tensor.Datatype]*inference.InferTensorContents{
		tensor.FP32:  {Fp32Contents: []float32{1, 2}},
		tensor.FP64:  {Fp64Contents: []float64{1, 2}},
		tensor.Int8:  {IntContents: []int32{1, 2}},
		tensor.Int32: {IntContents: []int32{1, 2}},
		tensor.Int64: {Int64Contents: []int64{1, 2}},
		tensor.Bool:  {BoolContents: []bool{true, true}},
		tensor.Bytes: {BytesContents: [][]byte{{1}, {2, 3}}},
	} {
		data := rawContents(datatype, contents)
		want := 2 * datatype.Size()
		if datatype == tensor.Bytes {
			want = 2*4 + 3
		}
		if len(data) != want {
			t.Errorf("%v: two elements take %d bytes, want %d", datatype, len(data), want)
		}
	}
}

func TestFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.json")
	text := `[{"inputs":[
		{"name":"n","datatype":"INT32","shape":[1,2],"data":[1,-2]},
		{"name":"s","datatype":"BYTES","shape":[1],"data":["é"]}]},
	 {"inputs":[{"name":"n","datatype":"FP32","shape":[1],"data":[0.5]}]}]`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := FromFile(path, Spec{Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Requests) != 2 {
		t.Fatalf("%d requests, want 2", len(w.Requests))
	}
	inputs := decodeRequest(t, w.Requests[0]).Inputs
	if got := inputs[0].Contents.IntContents; len(got) != 2 || got[1] != -2 {
		t.Errorf("the numbers are %v", got)
	}
	if got := string(inputs[1].Contents.BytesContents[0]); got != "é" {
		t.Errorf("the text is %q", got)
	}
}

func TestFaultyFiles(t *testing.T) {
	for want, text := range map[string]string{
		"unexpected EOF":         `{"inputs":[`,
		`no "inputs"`:            `{}`,
		"no requests":            `[]`,
		"has 3 elements":         `{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[1]}]}`,
		`datatype "FP8"`:         `{"inputs":[{"name":"x","datatype":"FP8","shape":[1],"data":[1]}]}`,
		"not a text":             `{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":[1]}]}`,
		"invalid value":          `{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":["a"]}]}`,
		"dimension -1":           `{"inputs":[{"name":"x","datatype":"INT32","shape":[-1],"data":[1]}]}`,
		"element count overflow": `{"inputs":[{"name":"x","datatype":"INT32","shape":[9223372036854775807,3],"data":[1]}]}`,
	} {
		_, err := parseRequests([]byte(text), Spec{Model: "m"})
		if !errors.Is(err, ErrInvalidWorkload) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n gives %v, want an error with %q", text, err, want)
		}
	}
}

// doubler is a server whose one model doubles.
type doubler struct {
	inference.GRPCInferenceServiceClient
}

func (doubler) ModelMetadata(context.Context, *inference.ModelMetadataRequest, ...grpc.CallOption) (*inference.ModelMetadataResponse, error) {
	return &inference.ModelMetadataResponse{Inputs: []*inference.ModelMetadataResponse_TensorMetadata{
		{Name: "x", Datatype: "FP32", Shape: []int64{-1, 1}},
	}}, nil
}

func (doubler) ModelInfer(_ context.Context, request *inference.ModelInferRequest, _ ...grpc.CallOption) (*inference.ModelInferResponse, error) {
	x := math.Float32frombits(binary.LittleEndian.Uint32(request.RawInputContents[0]))
	return &inference.ModelInferResponse{
		ModelName: request.ModelName, ModelVersion: "1",
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "y", Datatype: "FP32", Shape: request.Inputs[0].Shape},
		},
		RawOutputContents: [][]byte{floats(2 * x)},
	}, nil
}

func TestLearnedAnswersAreExpected(t *testing.T) {
	w, err := FromServer(t.Context(), doubler{}, Spec{Model: "m", Distinct: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Learn(t.Context(), doubler{}); err != nil {
		t.Fatal(err)
	}
	for i, encoded := range w.Requests {
		response, err := doubler{}.ModelInfer(t.Context(), decodeRequest(t, encoded))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := proto.Marshal(response)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Check(i, reply); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
		if err := w.Check((i+1)%3, reply); !errors.Is(err, ErrWrongAnswer) {
			t.Errorf("the answer to request %d passed for the next one's: %v", i, err)
		}
	}
	sample, err := w.SampleResponse("1")
	if err != nil || len(sample.RawOutputContents) != 1 || len(sample.RawOutputContents[0]) != 4 {
		t.Errorf("the sample response is %v, %v", sample, err)
	}
}

func TestParseShapes(t *testing.T) {
	shapes, err := ParseShapes([]string{"a:2,3", "b=4", "input:0:5"})
	if err != nil || shapes["a"].String() != "[2,3]" || shapes["b"].String() != "[4]" || shapes["input:0"].String() != "[5]" {
		t.Errorf("shapes are %v, %v", shapes, err)
	}
	for _, text := range []string{"", "a", ":3", "a:", "a:x", "a:-1", "a:1,,2"} {
		if _, err := ParseShapes([]string{text}); !errors.Is(err, ErrInvalidWorkload) {
			t.Errorf("shape %q: error is %v", text, err)
		}
	}
	if _, err := ParseShapes([]string{"a:1", "a:2"}); !errors.Is(err, ErrInvalidWorkload) {
		t.Errorf("two shapes for one input: error is %v", err)
	}
}
