// SPDX-License-Identifier: Apache-2.0

package training

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training/learn"
)

// fillInput writes what requests have: categories, not their codes.
func fillInput(to *tensor.Tensor, t *learn.Table) error {
	if to.Name == InputName && to.Datatype == tensor.FP32 && len(to.Data) == 4*t.Rows()*len(t.Features) {
		for i, f := range t.Features {
			for row, v := range t.Values[i] {
				putFloat(to.Data, row*len(t.Features)+i, categoryNumber(f, v))
			}
		}
		return nil
	}
	i := slices.IndexFunc(t.Features, func(f learn.Feature) bool { return f.Name == to.Name })
	if i < 0 {
		return fmt.Errorf("it takes %q, which is no feature", to.Name)
	}
	f := t.Features[i]
	if to.Datatype != tensor.Bytes {
		for row, v := range t.Values[i] {
			putFloat(to.Data, row, categoryNumber(f, v))
		}
		return nil
	}
	to.Data = to.Data[:0]
	for _, v := range t.Values[i] {
		text := "" // as a request has it whose value is missing
		if v == v {
			text = f.Categories[int(v)]
		}
		to.Data = tensor.AppendBytes(to.Data, []byte(text))
	}
	return nil
}

// categoryNumber is the number behind a category's code; other values are as they are.
func categoryNumber(f learn.Feature, v float32) float32 {
	if !f.Categorical || isText(f) || v != v {
		return v
	}
	number, _ := strconv.ParseFloat(f.Categories[int(v)], 32) // written by categoryOf
	return float32(number)
}

func putFloat(data []byte, place int, v float32) {
	binary.LittleEndian.PutUint32(data[4*place:], math.Float32bits(v))
}

// readPredictions takes predictions out of a model's outputs.
func readPredictions(outputs []tensor.Tensor, specs []engine.TensorSpec, task learn.Task) ([]float32, error) {
	name := ProbabilitiesName
	if task == learn.Regression {
		name = PredictionName
	}
	place := slices.IndexFunc(specs, func(s engine.TensorSpec) bool { return s.Name == name })
	if place < 0 || outputs[place].Datatype != tensor.FP32 {
		return nil, fmt.Errorf("it has no output %q of type FP32", name)
	}
	data := outputs[place].Data
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	if task != learn.Binary {
		return values, nil
	}
	positive := make([]float32, 0, len(values)/2)
	for i := 1; i < len(values); i += 2 {
		positive = append(positive, values[i])
	}
	return positive, nil
}
