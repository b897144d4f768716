// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// ErrWrongAnswer reports an answer that is not what the request should get.
var ErrWrongAnswer = errors.New("wrong answer")

// relativeErrorMax is how far a float may be from what is expected, relative to
// the larger of the two and 1. Batches of different sizes round differently;
// 16-bit floats have only 11 or 8 bits.
const (
	relativeErrorMax     = 1e-4
	relativeErrorMaxHalf = 2e-2
)

// Expect sets what one request should get from a version of the model; version ""
// holds for every version that has no answers of its own.
func (w *Workload) Expect(version string, request int, outputs []tensor.Tensor) {
	if w.answers == nil {
		w.answers = map[string]map[int][]tensor.Tensor{}
	}
	if w.answers[version] == nil {
		w.answers[version] = map[int][]tensor.Tensor{}
	}
	w.answers[version][request] = outputs
}

// Check decodes an encoded ModelInferResponse and compares it with what the
// request should get from the version that answered. A workload that expects
// nothing accepts every answer that decodes. Errors wrap ErrWrongAnswer.
func (w *Workload) Check(request int, reply []byte) error {
	var response inference.ModelInferResponse
	if err := proto.Unmarshal(reply, &response); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongAnswer, err)
	}
	outputs, err := decodeOutputs(&response)
	if err != nil || len(w.answers) == 0 {
		return err
	}
	answers, ok := w.answers[response.ModelVersion]
	if !ok {
		answers, ok = w.answers[""]
	}
	if !ok || answers[request] == nil {
		return fmt.Errorf("%w: no answer of version %q of model %q is known for request %d",
			ErrWrongAnswer, response.ModelVersion, response.ModelName, request)
	}
	if err := compareOutputs(outputs, answers[request]); err != nil {
		return fmt.Errorf("%w: model %q version %q, request %d: %w",
			ErrWrongAnswer, response.ModelName, response.ModelVersion, request, err)
	}
	return nil
}

// SampleResponse encodes the answer to request 0, for a peer that imitates it.
func (w *Workload) SampleResponse(version string) (*inference.ModelInferResponse, error) {
	answers := w.answers[version]
	if answers[0] == nil {
		return nil, fmt.Errorf("%w: no answer of version %q of model %q is known", ErrInvalidWorkload, version, w.Model)
	}
	response := &inference.ModelInferResponse{ModelName: w.Model, ModelVersion: version}
	for _, out := range answers[0] {
		response.Outputs = append(response.Outputs, &inference.ModelInferResponse_InferOutputTensor{
			Name: out.Name, Datatype: out.Datatype.String(), Shape: out.Shape,
		})
		response.RawOutputContents = append(response.RawOutputContents, out.Data)
	}
	return response, nil
}

// Echoed is the same workload for a peer that gives every request the answer to
// request 0 of one version.
func (w *Workload) Echoed(version string) *Workload {
	echoed := *w
	echoed.answers = nil
	for i := range w.Requests {
		echoed.Expect(version, i, w.answers[version][0])
	}
	return &echoed
}

// decodeOutputs reads the outputs of a response, raw or typed.
func decodeOutputs(response *inference.ModelInferResponse) ([]tensor.Tensor, error) {
	outputs := make([]tensor.Tensor, len(response.Outputs))
	for i, out := range response.Outputs {
		outputs[i] = tensor.Tensor{Name: out.Name, Datatype: tensor.ParseDatatype(out.Datatype), Shape: out.Shape}
		switch {
		case i < len(response.RawOutputContents):
			outputs[i].Data = response.RawOutputContents[i]
		case out.Contents != nil:
			outputs[i].Data = rawContents(outputs[i].Datatype, out.Contents)
		default:
			return nil, fmt.Errorf("%w: output %q of model %q has no data", ErrWrongAnswer, out.Name, response.ModelName)
		}
	}
	return outputs, nil
}

// rawContents writes typed contents in the layout of raw ones.
func rawContents(datatype tensor.Datatype, c *inference.InferTensorContents) []byte {
	var data []byte
	order := binary.LittleEndian
	for _, v := range c.BoolContents {
		data = append(data, map[bool]byte{true: 1}[v])
	}
	for _, v := range c.IntContents {
		data = append(data, order.AppendUint32(nil, uint32(v))[:min(datatype.Size(), 4)]...)
	}
	for _, v := range c.UintContents {
		data = append(data, order.AppendUint32(nil, v)[:min(datatype.Size(), 4)]...)
	}
	for _, v := range c.Int64Contents {
		data = order.AppendUint64(data, uint64(v))
	}
	for _, v := range c.Uint64Contents {
		data = order.AppendUint64(data, v)
	}
	for _, v := range c.Fp32Contents {
		data = order.AppendUint32(data, math.Float32bits(v))
	}
	for _, v := range c.Fp64Contents {
		data = order.AppendUint64(data, math.Float64bits(v))
	}
	for _, v := range c.BytesContents {
		data = tensor.AppendBytes(data, v)
	}
	return data
}

func compareOutputs(got, want []tensor.Tensor) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, want %d", len(got), len(want))
	}
	for i := range want {
		if err := compare(got[i], want[i]); err != nil {
			return fmt.Errorf("output %q: %w", want[i].Name, err)
		}
	}
	return nil
}

func compare(got, want tensor.Tensor) error {
	if got.Name != want.Name || got.Datatype != want.Datatype || !want.Shape.Matches(got.Shape) {
		return fmt.Errorf("is %q %v %v, want %v %v", got.Name, got.Datatype, got.Shape, want.Datatype, want.Shape)
	}
	if len(got.Data) != len(want.Data) {
		return fmt.Errorf("has %d bytes, want %d", len(got.Data), len(want.Data))
	}
	decode, tolerance := floatDecoder(want.Datatype)
	if decode == nil {
		if !bytes.Equal(got.Data, want.Data) {
			return errors.New("differs from what is expected")
		}
		return nil
	}
	size := want.Datatype.Size()
	for i := 0; i+size <= len(want.Data); i += size {
		g, w := decode(got.Data[i:]), decode(want.Data[i:])
		if !near(g, w, tolerance) {
			return fmt.Errorf("element %d is %g, want %g", i/size, g, w)
		}
	}
	return nil
}

func near(got, want, tolerance float64) bool {
	if got == want || math.IsNaN(got) && math.IsNaN(want) {
		return true
	}
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(got), math.Abs(want))
}

// floatDecoder returns how to read one element of a float datatype and how exact
// it is, or nil for other datatypes.
func floatDecoder(datatype tensor.Datatype) (decode func([]byte) float64, tolerance float64) {
	order := binary.LittleEndian
	switch datatype {
	case tensor.FP32:
		return func(b []byte) float64 { return float64(math.Float32frombits(order.Uint32(b))) }, relativeErrorMax
	case tensor.FP64:
		return func(b []byte) float64 { return math.Float64frombits(order.Uint64(b)) }, relativeErrorMax
	case tensor.BF16:
		return func(b []byte) float64 { return float64(math.Float32frombits(uint32(order.Uint16(b)) << 16)) }, relativeErrorMaxHalf
	case tensor.FP16:
		return func(b []byte) float64 { return float64(tensor.FP16ToFloat32(order.Uint16(b))) }, relativeErrorMaxHalf
	default:
		return nil, 0
	}
}
