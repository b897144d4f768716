// SPDX-License-Identifier: Apache-2.0

// Package movement holds the operators that arrange elements without computing with
// them: other shapes, other orders, pieces, joins, lookups, other datatypes, and the
// constants that graphs are glued together with.
//
// Most of them are one strided copy (see mover), of elements of any datatype. Shapes
// that an operator takes as an input must be known before the run, as they are when
// they come from constants or from the shapes of other values.
package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return slices.Concat(shapeOperators(), moveOperators(), lookupOperators(), constantOperators(), castOperators())
}

func shapeOperators() []op.Definition {
	return []op.Definition{
		{Name: "Identity", Since: 1, Build: buildIdentity},
		{Name: "Dropout", Since: 7, Build: buildDropout},
		{Name: "Reshape", Since: 5, Build: buildReshape},
		{Name: "Flatten", Since: 1, Build: buildFlatten},
		{Name: "Squeeze", Since: 1, Until: 12, Build: buildSqueeze},
		{Name: "Squeeze", Since: 13, Build: buildSqueeze},
		{Name: "Unsqueeze", Since: 1, Until: 12, Build: buildUnsqueeze},
		{Name: "Unsqueeze", Since: 13, Build: buildUnsqueeze},
	}
}

func moveOperators() []op.Definition {
	return []op.Definition{
		{Name: "Transpose", Since: 1, Build: buildTranspose},
		{Name: "Concat", Since: 4, Build: buildConcat},
		{Name: "Split", Since: 2, Build: buildSplit},
		{Name: "Slice", Since: 1, Until: 9, Build: buildSlice},
		{Name: "Slice", Since: 10, Build: buildSlice},
		{Name: "Expand", Since: 8, Build: buildExpand},
		{Name: "Tile", Since: 6, Build: buildTile},
		{Name: "Pad", Since: 2, Build: buildPad},
		{Name: "DepthToSpace", Since: 1, Build: buildDepthToSpace},
		{Name: "SpaceToDepth", Since: 1, Build: buildSpaceToDepth},
	}
}

func lookupOperators() []op.Definition {
	return []op.Definition{
		{Name: "Gather", Since: 1, Build: buildGather},
		{Name: "GatherElements", Since: 11, Build: buildGatherElements},
		{Name: "GatherND", Since: 11, Build: buildGatherND},
		{Name: "ScatterElements", Since: 11, Build: buildScatterElements},
		{Name: "Scatter", Since: 9, Until: 10, Build: buildScatterElements},
		{Name: "ScatterND", Since: 11, Build: buildScatterND},
		{Name: "Compress", Since: 9, Build: buildCompress},
		{Name: "OneHot", Since: 9, Build: buildOneHot},
		{Name: "Trilu", Since: 14, Build: buildTrilu},
		{Domain: "ai.onnx.ml", Name: "ArrayFeatureExtractor", Since: 1, Build: buildArrayFeatureExtractor},
	}
}

func constantOperators() []op.Definition {
	return []op.Definition{
		{Name: "Constant", Since: 1, Build: buildConstant},
		{Name: "ConstantOfShape", Since: 9, Build: buildConstantOfShape},
		{Name: "Shape", Since: 1, Build: buildShape},
		{Name: "Size", Since: 1, Build: buildSize},
		{Name: "Range", Since: 11, Build: buildRange},
		{Name: "EyeLike", Since: 9, Build: buildEyeLike},
		{Name: "NonZero", Since: 9, Build: buildNonZero},
	}
}

// constInts reads an input that must be known before the run.
func constInts(v *op.Value, what string) ([]int64, error) {
	if v == nil {
		return nil, op.Invalid("%s is left out", what)
	}
	if !v.Const {
		return nil, op.NotCovered("%s that is not known before the run", what)
	}
	switch v.Type {
	case tensor.Int64:
		return op.As[int64](v), nil
	case tensor.Int32:
		narrow := op.As[int32](v)
		wide := make([]int64, len(narrow))
		for i, x := range narrow {
			wide[i] = int64(x)
		}
		return wide, nil
	}
	return nil, op.Invalid("%s of type %s", what, v.Type)
}

// axesOf are axes counted from 0, each at most once.
func axesOf(axes []int64, rank int) ([]int, error) {
	list := make([]int, 0, len(axes))
	for _, a := range axes {
		axis, err := op.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(list, axis) {
			return nil, op.Invalid("axis %d is given twice", axis)
		}
		list = append(list, axis)
	}
	return list, nil
}

// product is the number of elements of a range of dimensions.
func product(dims tensor.Shape) int {
	n := 1
	for _, d := range dims {
		n *= int(d)
	}
	return n
}
