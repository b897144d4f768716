// SPDX-License-Identifier: Apache-2.0

// Package tabular holds the operators of the domain ai.onnx.ml: what exporters of
// scikit-learn, LightGBM, XGBoost and CatBoost make of trees, linear models, encoders
// and scalers.
//
// Where the standard leaves something open, such as the scores of a binary classifier
// that only has weights for one class, these operators do what ONNX Runtime does, which
// is what exporters are tested with. Where ONNX Runtime departs from the standard, they
// follow the standard; the tests name such places.
package tabular

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// domain of all operators of this package.
const domain = "ai.onnx.ml"

// Operators lists what this package runs.
func Operators() []op.Definition {
	return []op.Definition{
		{Domain: domain, Name: "TreeEnsemble", Since: 5, Build: buildTreeEnsemble},
		{Domain: domain, Name: "TreeEnsembleRegressor", Since: 1, Build: buildTreeRegressor},
		{Domain: domain, Name: "TreeEnsembleClassifier", Since: 1, Build: buildTreeClassifier},
		{Domain: domain, Name: "LinearRegressor", Since: 1, Build: buildLinearRegressor},
		{Domain: domain, Name: "LinearClassifier", Since: 1, Build: buildLinearClassifier},
		{Domain: domain, Name: "SVMRegressor", Since: 1, Build: buildSVMRegressor},
		{Domain: domain, Name: "SVMClassifier", Since: 1, Build: buildSVMClassifier},
		{Domain: domain, Name: "Scaler", Since: 1, Build: buildScaler},
		{Domain: domain, Name: "Imputer", Since: 1, Build: buildImputer},
		{Domain: domain, Name: "OneHotEncoder", Since: 1, Build: buildOneHotEncoder},
		{Domain: domain, Name: "LabelEncoder", Since: 1, Until: 1, Build: buildLabelEncoder1},
		{Domain: domain, Name: "LabelEncoder", Since: 2, Build: buildLabelEncoder},
		{Domain: domain, Name: "CategoryMapper", Since: 1, Build: buildCategoryMapper},
		{Domain: domain, Name: "FeatureVectorizer", Since: 1, Build: buildFeatureVectorizer},
	}
}

// matrix is a value as rows and columns; a single dimension is one row.
func matrix(v *op.Value) (rows, cols int, err error) {
	switch v.Rank() {
	case 1:
		return 1, int(v.Shape[0]), nil
	case 2:
		return int(v.Shape[0]), int(v.Shape[1]), nil
	}
	return 0, 0, op.Invalid("shape %v, want rows and columns", v.Shape)
}

// numeric are the types that most operators take.
var numeric = []tensor.Datatype{tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32}

// floats gives a function that reads v as FP32, converting into memory of its own where
// v is of another type.
func floats(v *op.Value) func() []float32 {
	if v.Type == tensor.FP32 {
		x := op.Floats(v)
		return func() []float32 { return x }
	}
	converted := make([]float32, v.Len())
	switch v.Type {
	case tensor.FP64:
		x := op.As[float64](v)
		return func() []float32 { vec.F64ToF32(converted, x); return converted }
	case tensor.Int64:
		x := op.As[int64](v)
		return func() []float32 { vec.Int64ToF32(converted, x); return converted }
	}
	x := op.As[int32](v)
	return func() []float32 { vec.Int32ToF32(converted, x); return converted }
}

// labels are the classes of a classifier: texts or numbers.
type labels struct {
	texts   [][]byte
	numbers []int64
}

// labelsOf reads the class labels from the first of the attributes that is set.
func labelsOf(n *op.Node, texts, numbers string) labels {
	l := labels{texts: n.Texts(texts), numbers: n.Ints(numbers)}
	if len(l.texts) > 0 {
		l.numbers = nil
	}
	return l
}

func (l *labels) len() int { return max(len(l.texts), len(l.numbers)) }

func (l *labels) datatype() tensor.Datatype {
	if len(l.texts) > 0 {
		return tensor.Bytes
	}
	return tensor.Int64
}

// writer gives a function that writes the label of a class as an element of v.
func (l *labels) writer(v *op.Value) func(row, class int) {
	switch {
	case v == nil:
		return func(int, int) {}
	case len(l.texts) > 0:
		return func(row, class int) { v.Strings[row] = l.texts[class] }
	}
	to := op.As[int64](v)
	return func(row, class int) { to[row] = l.numbers[class] }
}

// setOutputs infers the outputs of a classifier: a label for each row, and scores of so
// many columns, where they are asked for.
func (l *labels) setOutputs(out []*op.Value, rows, columns int) error {
	if err := out[0].Set(l.datatype(), int64(rows)); err != nil {
		return err
	}
	if len(out) > 1 {
		return out[1].Set(tensor.FP32, int64(rows), int64(columns))
	}
	return nil
}

// scoresOf is where the n scores of a classifier go: its second output, or memory of
// their own where that is left out.
func scoresOf(out []*op.Value, n int) []float32 {
	if len(out) > 1 && out[1] != nil {
		return op.Floats(out[1])
	}
	return make([]float32, n)
}

// carriesRows is Rowwise for operators with one input of rows.
type carriesRows struct{}

func (carriesRows) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() == 2 && !slices.Contains(carries[1:], true)
}

// wide is a list of float32 as float64.
func wide(list []float32) []float64 {
	if list == nil {
		return nil
	}
	result := make([]float64, len(list))
	for i, x := range list {
		result[i] = float64(x)
	}
	return result
}
