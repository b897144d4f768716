// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// readRows reads rows for a model: JSON requests here, other kinds of files by their
// extension.
func readRows(path string, stdin io.Reader, o dataset.Options) (*dataset.Data, error) {
	if path == "-" {
		return readJSONRows("standard input", stdin, o)
	}
	extension := strings.ToLower(filepath.Ext(path))
	if extension != ".json" {
		if !slices.Contains(dataset.Extensions, extension) {
			return nil, fmt.Errorf("%s: the extension is none of .json, %s", path, strings.Join(dataset.Extensions, ", "))
		}
		return dataset.ReadFile(path, o)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readJSONRows(path, file, o)
}

// readJSONRows reads a request as millrace predict takes it. Labels are an input more.
func readJSONRows(name string, r io.Reader, o dataset.Options) (*dataset.Data, error) {
	request, err := parseRequest(name, r)
	if err != nil {
		return nil, err
	}
	labels, err := takeLabels(request, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	known := metadataOf(o.Inputs)
	var tensors []tensor.Tensor
	for _, spec := range o.Inputs {
		at := slices.IndexFunc(request.Inputs, func(in jsonInput) bool { return in.Name == spec.Name })
		if at < 0 {
			return nil, fmt.Errorf("%s: input %q is missing; the model's inputs are %s", name, spec.Name, inputNames(known))
		}
		declared, raw, err := request.Inputs[at].encode(known)
		if err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", name, spec.Name, err)
		}
		tensors = append(tensors, tensor.Tensor{
			Name: spec.Name, Datatype: tensor.ParseDatatype(declared.Datatype), Shape: declared.Shape, Data: raw,
		})
		request.Inputs = slices.Delete(request.Inputs, at, at+1)
	}
	if len(request.Inputs) > 0 {
		return nil, fmt.Errorf("%s: the model has no input %q; its inputs are %s", name, request.Inputs[0].Name, inputNames(known))
	}
	data, err := dataset.New(tensors, labels, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// metadataOf is a model's inputs as a server describes them.
func metadataOf(inputs []engine.TensorSpec) []*inference.ModelMetadataResponse_TensorMetadata {
	var list []*inference.ModelMetadataResponse_TensorMetadata
	for _, spec := range inputs {
		list = append(list, &inference.ModelMetadataResponse_TensorMetadata{Name: spec.Name, Datatype: spec.Datatype.String(), Shape: spec.Shape})
	}
	return list
}

// takeLabels removes the input of labels from a request and gives its elements.
func takeLabels(request *jsonRequest, o dataset.Options) ([]string, error) {
	name := o.Label
	if name == "" {
		return nil, nil
	}
	at := slices.IndexFunc(request.Inputs, func(in jsonInput) bool { return in.Name == name })
	if at < 0 && o.LabelOptional {
		return nil, nil
	}
	if at < 0 {
		return nil, fmt.Errorf("no input %q for the labels", name)
	}
	_, values, err := flatten(request.Inputs[at].Data)
	if err != nil {
		return nil, fmt.Errorf("labels %q: %w", name, err)
	}
	labels := make([]string, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case string:
			labels[i] = v
		case json.Number:
			labels[i] = v.String()
		case bool:
			labels[i] = map[bool]string{false: "0", true: "1"}[v]
		default:
			return nil, fmt.Errorf("labels %q: element %d is neither a number nor a text", name, i)
		}
	}
	request.Inputs = slices.Delete(request.Inputs, at, at+1)
	return labels, nil
}
