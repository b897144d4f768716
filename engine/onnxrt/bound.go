// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"errors"
	"fmt"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// bound is an instance's memory laid out for one set of input shapes, with the
// library's values over it.
type bound struct {
	engine.Binding
	// inputs and outputs are the library's values. An input without dimensions has
	// none, since it is made anew for each run; neither has an output that the
	// library is to allocate, nor an input that is left out.
	inputs, outputs []ort.Value
	// inputData and outputData are what Bind restores: tensors in the arena, and for
	// BYTES an empty slice with the room that earlier runs have appended to.
	inputData, outputData [][]byte
	// shapes are those of the inputs, nil where one is left out.
	shapes []tensor.Shape
	// io holds the values for repeated runs; nil on the direct path.
	io *ort.IoBinding
}

// newBound makes the values of a layout over memory.
func newBound(g *graph, l layout, memory []byte) (*bound, error) {
	b := &bound{}
	b.State = b
	for i, p := range l.inputs {
		spec := g.signature.Inputs[i]
		value, err := newInput(spec.Datatype, p, memory)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("input %q: %w", spec.Name, err), b.Destroy())
		}
		b.shapes = append(b.shapes, p.shape)
		b.inputs = append(b.inputs, value)
		b.inputData = append(b.inputData, p.in(memory))
		b.Inputs = append(b.Inputs, tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: p.shape})
	}
	for i, p := range l.outputs {
		spec := g.signature.Outputs[i]
		value, err := newOutput(spec.Datatype, p, memory)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("output %q: %w", spec.Name, err), b.Destroy())
		}
		b.outputs = append(b.outputs, value)
		b.outputData = append(b.outputData, p.in(memory))
		b.Outputs = append(b.Outputs, tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: p.shape})
	}
	return b, nil
}

// in is the place's part of the arena, which appending cannot outgrow.
func (p place) in(memory []byte) []byte {
	return memory[p.offset : p.offset+p.size : p.offset+p.size]
}

func newInput(datatype tensor.Datatype, p place, memory []byte) (ort.Value, error) {
	switch {
	case p.shape == nil:
		return nil, nil
	case datatype == tensor.Bytes && len(p.shape) > 0:
		return ort.NewStringTensor(ort.Shape(p.shape))
	case len(p.shape) > 0:
		return newArenaValue(datatype, p, memory)
	case elements[datatype].scalar == nil:
		return nil, fmt.Errorf("%v without dimensions is not supported: give it a dimension of 1", datatype)
	default:
		return nil, nil
	}
}

func newOutput(datatype tensor.Datatype, p place, memory []byte) (ort.Value, error) {
	element := elements[datatype]
	switch {
	case datatype == tensor.Bytes:
		return nil, nil
	case p.shape == nil && !allocatable(datatype):
		return nil, errUnallocatable
	case p.shape == nil:
		return nil, nil
	case len(p.shape) > 0:
		return newArenaValue(datatype, p, memory)
	case element.scalar == nil:
		return nil, fmt.Errorf("%v without dimensions is not supported: give it a dimension of 1", datatype)
	default:
		return element.scalar(nil)
	}
}

// newArenaValue makes a tensor over the arena. An empty one gets a byte all the
// same, which the binding insists on.
func newArenaValue(datatype tensor.Datatype, p place, memory []byte) (ort.Value, error) {
	return ort.NewCustomDataTensor(ort.Shape(p.shape), memory[p.offset:p.offset+max(1, p.size)], elements[datatype].code)
}

// bindable reports whether all values lie in the arena, so that they can be bound
// once and a run needs nothing before and after it.
func (b *bound) bindable() bool {
	for i, v := range b.inputs {
		if _, inArena := v.(*ort.CustomDataTensor); !inArena && b.shapes[i] != nil {
			return false
		}
	}
	for _, v := range b.outputs {
		if _, inArena := v.(*ort.CustomDataTensor); !inArena {
			return false
		}
	}
	return true
}

// presumes reports whether an output's shape was taken as the graph declares it.
func (b *bound) presumes() bool {
	return slices.ContainsFunc(b.outputs, func(v ort.Value) bool {
		_, inArena := v.(*ort.CustomDataTensor)
		return inArena
	})
}

// bind makes the binding that later runs go through.
func (b *bound) bind(session *ort.DynamicAdvancedSession) error {
	io, err := session.CreateIoBinding()
	if err != nil {
		return libraryError(err)
	}
	b.io = io
	for i, v := range b.inputs {
		if v == nil {
			continue
		}
		if err := io.BindInput(b.Inputs[i].Name, v); err != nil {
			return fmt.Errorf("input %q: %w", b.Inputs[i].Name, libraryError(err))
		}
	}
	for i, v := range b.outputs {
		if err := io.BindOutput(b.Outputs[i].Name, v); err != nil {
			return fmt.Errorf("output %q: %w", b.Outputs[i].Name, libraryError(err))
		}
	}
	return nil
}

// Shapes implements shapecache.Entry.
func (b *bound) Shapes() []tensor.Shape { return b.shapes }

// reset makes the binding what Bind promises, whatever its last user left in it.
func (b *bound) reset() {
	for i, data := range b.inputData {
		b.Inputs[i].Data = data
	}
	for i, data := range b.outputData {
		b.Outputs[i].Data = data
	}
}

// Destroy releases the library's values. The binding cannot run after it.
func (b *bound) Destroy() error {
	var problems []error
	if b.io != nil {
		problems = append(problems, b.io.Destroy())
		b.io = nil
	}
	for _, v := range slices.Concat(b.inputs, b.outputs) {
		if v != nil {
			problems = append(problems, v.Destroy())
		}
	}
	b.inputs, b.outputs = nil, nil
	return errors.Join(problems...)
}
