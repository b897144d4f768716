// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// Bounds of a request read from outside.
const (
	requestBytesMax = 1 << 30
	inputRankMax    = 32
)

// jsonRequest is a request in the REST form of the protocol. Datatypes and shapes
// may be left out here; the model's metadata gives them.
type jsonRequest struct {
	ID         string         `json:"id"`
	Parameters map[string]any `json:"parameters"`
	Inputs     []jsonInput    `json:"inputs"`
	Outputs    []jsonOutput   `json:"outputs"`
}

type jsonInput struct {
	Name     string       `json:"name"`
	Datatype string       `json:"datatype"`
	Shape    tensor.Shape `json:"shape"`
	Data     any          `json:"data"`
}

type jsonOutput struct {
	Name string `json:"name"`
}

// parseRequest reads a request in JSON. source names it in errors.
func parseRequest(source string, r io.Reader) (*jsonRequest, error) {
	limited := &io.LimitedReader{R: r, N: requestBytesMax}
	request := new(jsonRequest)
	if err := decodeStrict(limited, request); err != nil {
		if limited.N == 0 {
			return nil, fmt.Errorf("%s: larger than %d bytes", source, requestBytesMax)
		}
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if len(request.Inputs) == 0 {
		return nil, fmt.Errorf(`%s: no "inputs"; the form is {"inputs":[{"name":"...","data":[...]}]}`, source)
	}
	return request, nil
}

// decodeStrict decodes one JSON value that fills the reader, keeping numbers exact.
func decodeStrict(r io.Reader, into any) error {
	decoder := json.NewDecoder(r)
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("there is nothing where JSON is wanted")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the JSON ends in the middle")
		}
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text follows the JSON value")
	}
	return nil
}

// requestFromFlags makes a request of NAME=JSON inputs and NAME:D1,D2 shapes.
func requestFromFlags(id string, inputs, shapes, outputs []string) (*jsonRequest, error) {
	request := &jsonRequest{ID: id}
	for _, text := range inputs {
		name, data, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--input %q: the form is NAME=JSON, such as 'INPUT0=[1,2]'", text)}
		}
		input := jsonInput{Name: name}
		if err := decodeStrict(strings.NewReader(data), &input.Data); err != nil {
			return nil, usageError{fmt.Errorf("--input %s: %w", name, err)}
		}
		request.Inputs = append(request.Inputs, input)
	}
	for _, text := range shapes {
		if err := request.setShape(text); err != nil {
			return nil, usageError{fmt.Errorf("--shape %q: %w", text, err)}
		}
	}
	for _, name := range outputs {
		request.Outputs = append(request.Outputs, jsonOutput{name})
	}
	return request, nil
}

func (r *jsonRequest) setShape(text string) error {
	colon := strings.LastIndexByte(text, ':') // names may have one too
	if colon < 0 {
		return errors.New("the form is NAME:D1,D2")
	}
	name := text[:colon]
	var shape tensor.Shape
	for extent := range strings.SplitSeq(text[colon+1:], ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(extent), 10, 64)
		if err != nil || n < 0 {
			return errors.New("the form is NAME:D1,D2 with extents of 0 or more")
		}
		shape = append(shape, n)
	}
	for i := range r.Inputs {
		if r.Inputs[i].Name == name {
			r.Inputs[i].Shape = shape
			return nil
		}
	}
	return fmt.Errorf("there is no --input %s", name)
}

// message makes the request for one model, completed from its metadata.
func (r *jsonRequest) message(model, version string, metadata *inference.ModelMetadataResponse) (*inference.ModelInferRequest, error) {
	message := &inference.ModelInferRequest{ModelName: model, ModelVersion: version, Id: r.ID}
	var err error
	if message.Parameters, err = inferParameters(r.Parameters); err != nil {
		return nil, err
	}
	for i := range r.Inputs {
		declared, raw, err := r.Inputs[i].encode(metadata.Inputs)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", r.Inputs[i].Name, err)
		}
		message.Inputs = append(message.Inputs, declared)
		message.RawInputContents = append(message.RawInputContents, raw)
	}
	for _, output := range r.Outputs {
		message.Outputs = append(message.Outputs, &inference.ModelInferRequest_InferRequestedOutputTensor{Name: output.Name})
	}
	return message, nil
}

// encode gives the input's declaration and raw contents. An input that the model
// does not have is sent as it is, when complete, for the server to judge.
func (in *jsonInput) encode(known []*inference.ModelMetadataResponse_TensorMetadata) (*inference.ModelInferRequest_InferInputTensor, []byte, error) {
	datatypeName, modelShape, found := in.Datatype, tensor.Shape(nil), false
	for _, metadata := range known {
		if metadata.Name == in.Name {
			modelShape, found = metadata.Shape, true
			if datatypeName == "" {
				datatypeName = metadata.Datatype
			}
		}
	}
	if !found && (datatypeName == "" || in.Shape == nil) {
		return nil, nil, fmt.Errorf("the model has no such input; its inputs are %s", inputNames(known))
	}
	datatype := tensor.ParseDatatype(datatypeName)
	if datatype == tensor.Invalid {
		return nil, nil, fmt.Errorf("datatype %q is none of the protocol's", datatypeName)
	}
	nested, values, err := flatten(in.Data)
	if err != nil {
		return nil, nil, err
	}
	shape, err := resolveShape(in.Shape, nested, modelShape, int64(len(values)))
	if err != nil {
		return nil, nil, err
	}
	raw, err := encodeElements(datatype, values)
	if err != nil {
		return nil, nil, err
	}
	return &inference.ModelInferRequest_InferInputTensor{Name: in.Name, Datatype: datatypeName, Shape: shape}, raw, nil
}

func inputNames(known []*inference.ModelMetadataResponse_TensorMetadata) string {
	names := make([]string, len(known))
	for i, metadata := range known {
		names[i] = fmt.Sprintf("%s (%s %s)", metadata.Name, metadata.Datatype, tensor.Shape(metadata.Shape))
	}
	return strings.Join(names, ", ")
}

// inferParameters converts the free parameters of a request.
func inferParameters(values map[string]any) (map[string]*inference.InferParameter, error) {
	if len(values) == 0 {
		return nil, nil
	}
	parameters := make(map[string]*inference.InferParameter, len(values))
	for name, value := range values {
		parameter := new(inference.InferParameter)
		switch v := value.(type) {
		case bool:
			parameter.ParameterChoice = &inference.InferParameter_BoolParam{BoolParam: v}
		case string:
			parameter.ParameterChoice = &inference.InferParameter_StringParam{StringParam: v}
		case json.Number:
			if n, err := v.Int64(); err == nil {
				parameter.ParameterChoice = &inference.InferParameter_Int64Param{Int64Param: n}
			} else if f, err := v.Float64(); err == nil {
				parameter.ParameterChoice = &inference.InferParameter_DoubleParam{DoubleParam: f}
			}
		}
		if parameter.ParameterChoice == nil {
			return nil, fmt.Errorf("parameter %q: it must be a boolean, a string or a number", name)
		}
		parameters[name] = parameter
	}
	return parameters, nil
}
