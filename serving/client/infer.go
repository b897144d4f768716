// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// InferRequest asks a model, in the KServe v2 protocol with raw contents.
type InferRequest struct {
	Model string
	// Version is a number or an alias; empty is the current one.
	Version string
	// ID is returned; it may be empty.
	ID string
	// Outputs are those wanted; nil is all.
	Outputs []string

	inputs []*inference.ModelInferRequest_InferInputTensor
	raw    [][]byte
}

// NewInfer returns a request without inputs.
func NewInfer(model string) *InferRequest { return &InferRequest{Model: model} }

// Raw adds an input of a datatype by its name in the protocol, such as FP16: little-endian
// elements, row by row. The slices are kept.
func (q *InferRequest) Raw(name, datatype string, shape []int64, data []byte) *InferRequest {
	q.inputs = append(q.inputs, &inference.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape})
	q.raw = append(q.raw, data)
	return q
}

// Float32 adds an input of FP32; the values are copied, as in the methods below.
func (q *InferRequest) Float32(name string, shape []int64, values ...float32) *InferRequest {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return q.Raw(name, "FP32", shape, raw)
}

// Float64 adds an input of FP64.
func (q *InferRequest) Float64(name string, shape []int64, values ...float64) *InferRequest {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	return q.Raw(name, "FP64", shape, raw)
}

// Int32 adds an input of INT32.
func (q *InferRequest) Int32(name string, shape []int64, values ...int32) *InferRequest {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
	}
	return q.Raw(name, "INT32", shape, raw)
}

// Int64 adds an input of INT64.
func (q *InferRequest) Int64(name string, shape []int64, values ...int64) *InferRequest {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return q.Raw(name, "INT64", shape, raw)
}

// Bool adds an input of BOOL.
func (q *InferRequest) Bool(name string, shape []int64, values ...bool) *InferRequest {
	raw := make([]byte, len(values))
	for i, v := range values {
		if v {
			raw[i] = 1
		}
	}
	return q.Raw(name, "BOOL", shape, raw)
}

// Text adds an input of BYTES.
func (q *InferRequest) Text(name string, shape []int64, values ...string) *InferRequest {
	var raw []byte
	for _, v := range values {
		raw = tensor.AppendBytes(raw, []byte(v))
	}
	return q.Raw(name, "BYTES", shape, raw)
}

// check finds inputs whose data does not fill their shape.
func (q *InferRequest) check() error {
	for i, in := range q.inputs {
		path := "inputs." + in.Name
		datatype := tensor.ParseDatatype(in.Datatype)
		if datatype == tensor.Invalid {
			return invalidRequest("infer", path, "%s: there is no datatype %q", path, in.Datatype)
		}
		if !fills(datatype, in.Shape, q.raw[i]) {
			return invalidRequest("infer", path, "%s: %d bytes of %s do not fill the shape %v", path, len(q.raw[i]), in.Datatype, in.Shape)
		}
	}
	return nil
}

func fills(datatype tensor.Datatype, shape []int64, raw []byte) bool {
	elements, err := tensor.Shape(shape).Elements()
	if err != nil || slices.ContainsFunc(shape, func(d int64) bool { return d < 0 }) {
		return false
	}
	if datatype == tensor.Bytes {
		n, err := tensor.SkipBytes(raw, elements)
		return err == nil && n == len(raw)
	}
	size := int64(datatype.Size())
	return int64(len(raw))%size == 0 && int64(len(raw))/size == elements
}

// InferResponse is what a model answered.
type InferResponse struct {
	Model, Version, ID string
	Outputs            []Output
}

// Output is a tensor that a model answered.
type Output struct {
	Name, Datatype string
	Shape          []int64
	// Raw are little-endian elements, row by row; BYTES have their length before each.
	Raw []byte
}

// Output finds an output by name; nil if it is not there.
func (r *InferResponse) Output(name string) *Output {
	i := slices.IndexFunc(r.Outputs, func(o Output) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Outputs[i]
}

func (o *Output) of(datatypes ...string) error {
	if o == nil {
		return malformed("infer", "there is no such output")
	}
	if !slices.Contains(datatypes, o.Datatype) {
		return invalidRequest("infer", "outputs."+o.Name, "outputs.%s: is of %s, not %s", o.Name, o.Datatype, strings.Join(datatypes, " or "))
	}
	return nil
}

// Float32s are the elements of an output of FP32.
func (o *Output) Float32s() ([]float32, error) {
	if err := o.of("FP32"); err != nil {
		return nil, err
	}
	values := make([]float32, len(o.Raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(o.Raw[4*i:]))
	}
	return values, nil
}

// Float64s are the elements of an output of FP64 or FP32.
func (o *Output) Float64s() ([]float64, error) {
	if err := o.of("FP64", "FP32"); err != nil {
		return nil, err
	}
	if o.Datatype == "FP32" {
		narrow, err := o.Float32s()
		values := make([]float64, len(narrow))
		for i, v := range narrow {
			values[i] = float64(v)
		}
		return values, err
	}
	values := make([]float64, len(o.Raw)/8)
	for i := range values {
		values[i] = math.Float64frombits(binary.LittleEndian.Uint64(o.Raw[8*i:]))
	}
	return values, nil
}

// Int64s are the elements of an output of INT64 or INT32.
func (o *Output) Int64s() ([]int64, error) {
	if err := o.of("INT64", "INT32"); err != nil {
		return nil, err
	}
	if o.Datatype == "INT32" {
		values := make([]int64, len(o.Raw)/4)
		for i := range values {
			values[i] = int64(int32(binary.LittleEndian.Uint32(o.Raw[4*i:])))
		}
		return values, nil
	}
	values := make([]int64, len(o.Raw)/8)
	for i := range values {
		values[i] = int64(binary.LittleEndian.Uint64(o.Raw[8*i:]))
	}
	return values, nil
}

// Bools are the elements of an output of BOOL.
func (o *Output) Bools() ([]bool, error) {
	if err := o.of("BOOL"); err != nil {
		return nil, err
	}
	values := make([]bool, len(o.Raw))
	for i, b := range o.Raw {
		values[i] = b != 0
	}
	return values, nil
}

// Texts are the elements of an output of BYTES.
func (o *Output) Texts() ([]string, error) {
	if err := o.of("BYTES"); err != nil {
		return nil, err
	}
	var values []string
	for rest := o.Raw; len(rest) > 0; {
		element, after, err := tensor.NextBytes(rest)
		if err != nil {
			return nil, malformed("infer", "outputs.%s: %v", o.Name, err)
		}
		values, rest = append(values, string(element)), after
	}
	return values, nil
}

// Infer runs a model. It may always be repeated.
func (c *Client) Infer(ctx context.Context, q *InferRequest) (*InferResponse, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	message := &inference.ModelInferRequest{
		ModelName: q.Model, ModelVersion: q.Version, Id: q.ID, Inputs: q.inputs, RawInputContents: q.raw,
	}
	for _, name := range q.Outputs {
		message.Outputs = append(message.Outputs, &inference.ModelInferRequest_InferRequestedOutputTensor{Name: name})
	}
	plan := callPlan{name: "infer", timeout: c.options.InferTimeout, repeat: true}
	answer, _, err := call(ctx, c, plan, func(ctx context.Context, l *lane) (*InferResponse, error) {
		m, err := l.inference.ModelInfer(ctx, message)
		if err != nil {
			return nil, err
		}
		return newInferResponse(m)
	})
	return answer, err
}

// newInferResponse takes over an answer. Servers that were sent raw contents answer raw
// contents.
func newInferResponse(m *inference.ModelInferResponse) (*InferResponse, error) {
	if len(m.RawOutputContents) != len(m.Outputs) {
		return nil, malformed("infer", "%d outputs have %d raw contents", len(m.Outputs), len(m.RawOutputContents))
	}
	r := &InferResponse{Model: m.ModelName, Version: m.ModelVersion, ID: m.Id, Outputs: make([]Output, len(m.Outputs))}
	for i, o := range m.Outputs {
		r.Outputs[i] = Output{Name: o.GetName(), Datatype: o.GetDatatype(), Shape: o.GetShape(), Raw: m.RawOutputContents[i]}
		datatype := tensor.ParseDatatype(o.GetDatatype())
		if datatype == tensor.Invalid || !fills(datatype, o.GetShape(), m.RawOutputContents[i]) {
			return nil, malformed("infer", "output %s: %d bytes do not fill the shape %v of %s", o.GetName(), len(m.RawOutputContents[i]), o.GetShape(), o.GetDatatype())
		}
	}
	return r, nil
}
