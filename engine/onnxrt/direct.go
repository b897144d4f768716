// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"errors"
	"fmt"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// bytesKept is the most room that a BYTES tensor keeps from one run to the next.
const bytesKept = 1 << 20

// complete reports an error when an input is left out: the direct path hands over
// every input by position.
func (b *bound) complete() error {
	if i := slices.IndexFunc(b.shapes, func(s tensor.Shape) bool { return s == nil }); i >= 0 {
		return fmt.Errorf("input %q cannot be left out: on a GPU, and with BYTES, scalars or outputs of unknown shape, a model needs all its inputs", b.Inputs[i].Name)
	}
	return nil
}

// runDirect hands the values over for one run, and takes what the library
// allocated.
func (b *bound) runDirect(session *ort.DynamicAdvancedSession) error {
	inputs, err := b.directInputs()
	defer destroyOthers(inputs, b.inputs)
	if err != nil {
		return err
	}
	outputs := slices.Clone(b.outputs)
	defer destroyOthers(outputs, b.outputs)
	if err := session.Run(inputs, outputs); err != nil {
		return libraryError(err)
	}
	for i, v := range outputs {
		if err := b.take(i, v); err != nil {
			return fmt.Errorf("output %q: %w", b.Outputs[i].Name, err)
		}
	}
	return nil
}

// directInputs completes the inputs: strings are copied into their tensors, and
// those without dimensions made from their bytes.
func (b *bound) directInputs() ([]ort.Value, error) {
	inputs := slices.Clone(b.inputs)
	for i := range b.Inputs {
		t := &b.Inputs[i]
		var err error
		if strings, ok := inputs[i].(*ort.StringTensor); ok {
			err = b.fill(i, strings)
		} else if inputs[i] == nil {
			inputs[i], err = elements[t.Datatype].scalar(t.Data)
		}
		if err != nil {
			return inputs, fmt.Errorf("input %q: %w", t.Name, err)
		}
	}
	return inputs, nil
}

func (b *bound) fill(i int, strings *ort.StringTensor) error {
	t := &b.Inputs[i]
	n, err := t.Shape.Elements()
	if err != nil {
		return err
	}
	b.inputData[i] = kept(t.Data)
	return fillStrings(strings, t.Data, n)
}

// take makes output i of the value that the run gave for it.
func (b *bound) take(i int, v ort.Value) error {
	t := &b.Outputs[i]
	switch {
	case b.outputs[i] == nil && t.Datatype == tensor.Bytes:
		data, err := appendStrings(b.outputData[i], v)
		if err != nil {
			return err
		}
		t.Shape, t.Data = tensor.Shape(v.GetShape()), data
		b.outputData[i] = kept(data)
	case b.outputs[i] == nil:
		t.Shape, t.Data = tensor.Shape(v.GetShape()), elements[t.Datatype].view(v)
		if t.Data == nil {
			return errors.New("the library gave another datatype than the graph declares")
		}
	case len(t.Shape) == 0:
		elements[t.Datatype].unscalar(v, t.Data)
	}
	return nil
}

// kept is a slice's room for the next run, unless it is too much to keep.
func kept(data []byte) []byte {
	if cap(data) > bytesKept {
		return nil
	}
	return data[:0]
}

// destroyOthers releases the values that are not among those kept.
func destroyOthers(values, kept []ort.Value) {
	for i, v := range values {
		if v != nil && kept[i] == nil {
			v.Destroy()
		}
	}
}
