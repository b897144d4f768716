// SPDX-License-Identifier: Apache-2.0

package modelfile_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestRowShapes(t *testing.T) {
	inputs := []engine.TensorSpec{
		{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{-1, 5}},
		{Name: "k", Datatype: tensor.Int64, Shape: tensor.Shape{-1}, Optional: true},
	}
	if _, ok := modelfile.RowShapes(inputs, 4); ok {
		t.Error("an optional input does not vary with the rows alone")
	}
	inputs = inputs[:1]
	if shapes, ok := modelfile.RowShapes(inputs, 4); !ok || !slices.Equal(shapes[0], tensor.Shape{4, 5}) {
		t.Errorf("got %v, %v", shapes, ok)
	}
	if shapes, ok := modelfile.RowShapes(inputs, 0); ok {
		t.Errorf("without batching the first dimension is unknown too, got %v", shapes)
	}
}
