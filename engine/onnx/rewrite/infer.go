// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// inferrer gives the type of a node's first output, of KindUnknown where it cannot.
type inferrer func(r *rewriter, n *node) onnx.Type

// inferrers are the operators whose types are inferred: the common ones. All others
// have the types that the model declares.
var inferrers = makeInferrers()

func makeInferrers() map[string]inferrer {
	table := map[string]inferrer{
		"Cast": inferCast, "Shape": inferShapeOf, "Size": inferSize, "ConstantOfShape": inferConstantOfShape,
		"MatMul": inferMatMul, "MatMulInteger": inferMatMulInteger, "Gemm": inferGemm, "Conv": inferConv,
		"Reshape": inferReshape, "Flatten": inferFlatten, "Transpose": inferTranspose,
		"Squeeze": inferSqueeze, "Unsqueeze": inferUnsqueeze, "Concat": inferConcat, "Gather": inferGather,
		"Slice": inferSlice, "Split": inferSplit, "Pad": inferPad, "Expand": inferExpand, "Where": inferWhere,
		"QuantizeLinear": inferQuantize, "DynamicQuantizeLinear": inferQuantize, "DequantizeLinear": inferDequantize,
		"MaxPool": inferPool, "AveragePool": inferPool, "LpPool": inferPool, "GlobalAveragePool": inferPool,
		"GlobalMaxPool": inferPool, "ArgMax": inferArg, "ArgMin": inferArg,
		mlDomain + "Scaler": inferRows, mlDomain + "Normalizer": inferRows, mlDomain + "Imputer": inferSame,
		mlDomain + "Binarizer": inferSame, mlDomain + "LabelEncoder": inferLabels, mlDomain + "FeatureVectorizer": inferVector,
		mlDomain + "ArrayFeatureExtractor": inferColumns, mlDomain + "LinearRegressor": inferTargets,
		mlDomain + "TreeEnsembleRegressor": inferTargets, mlDomain + "SVMRegressor": inferTargets,
		Domain + "." + OpLinear: inferLinear, Domain + "." + OpLinearDynamicInt8: inferLinear,
		Domain + "." + OpLinearInt8: inferLinearInt8,
		Domain + "." + OpConv:       inferConv,
	}
	for _, op := range []string{
		"Identity", "Dropout", "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs",
		"Reciprocal", "Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Mish", "Gelu", "Swish",
		"PRelu", "Floor", "Ceil", "Round", "Sign", "Not", "Softmax", "LogSoftmax", "BatchNormalization",
		"LayerNormalization", "RMSNormalization", "GroupNormalization", "CumSum", "Trilu", "Sin", "Cos", "Tan", "Asin", "Acos",
		"Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "ThresholdedRelu", "ScatterElements", "ScatterND",
		Domain + "." + OpLayerNormalization, Domain + "." + OpRMSNormalization, Domain + "." + OpGelu,
		Domain + "." + OpSwish, Domain + "." + OpHardSwish, Domain + "." + OpMish,
	} {
		table[op] = inferSame
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Mod", "And", "Or", "Xor"} {
		table[op] = inferBroadcast
	}
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
		table[op] = inferCompare
	}
	for _, op := range []string{
		"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
		"ReduceLogSumExp", "ReduceLogSum",
	} {
		table[op] = inferReduce
	}
	return table
}

// infer notes what is known of the types of a node's outputs: what follows from its
// inputs, and beyond that what was declared.
func (r *rewriter) infer(n *node) {
	out := n.out(0)
	infer := inferrers[n.op]
	if out == nil || infer == nil {
		return
	}
	found := infer(r, n)
	if found.Kind == onnx.KindUnknown {
		return
	}
	r.learn(out, found)
	switch n.op {
	case "Split":
		for i, other := range n.outputs[1:] {
			r.learn(other, splitPart(n, i+1))
		}
	case "DynamicQuantizeLinear":
		r.learn(n.out(1), onnx.TensorType(onnx.ElemFloat))
		r.learn(n.out(2), onnx.TensorType(onnx.ElemUint8))
	}
}

// learn notes the type of a value. Other rules may come to apply by what is new.
func (r *rewriter) learn(v *value, found onnx.Type) {
	if v == nil {
		return
	}
	found = refine(found, v.typ)
	if found.Elem != v.typ.Elem || found.Ranked != v.typ.Ranked || !slices.Equal(found.Dims, v.typ.Dims) {
		r.changed = true
	}
	v.typ = found
}

// refine fills what is not known of a type from what was known of it before.
func refine(t, before onnx.Type) onnx.Type {
	if before.Kind != onnx.KindTensor {
		return t
	}
	if t.Elem == onnx.ElemUndefined {
		t.Elem = before.Elem
	}
	if !t.Ranked {
		t.Ranked, t.Dims = before.Ranked, before.Dims
		return t
	}
	if !before.Ranked || len(before.Dims) != len(t.Dims) {
		return t
	}
	dims := make([]onnx.Dim, len(t.Dims))
	for i, d := range t.Dims {
		if dims[i] = d; d.Value < 0 && (d.Param == "" || before.Dims[i].Value >= 0) {
			dims[i] = before.Dims[i]
		}
	}
	t.Dims = dims
	return t
}

// elem is the element type of a value, ElemUndefined where it is not known.
func elem(v *value) onnx.ElemType {
	if v == nil || v.typ.Kind != onnx.KindTensor {
		return onnx.ElemUndefined
	}
	return v.typ.Elem
}

// dims are the dimensions of a value.
func dims(v *value) ([]onnx.Dim, bool) {
	if v == nil || v.typ.Kind != onnx.KindTensor || !v.typ.Ranked {
		return nil, false
	}
	return v.typ.Dims, true
}

// rank is the number of dimensions of a value, -1 where it is not known.
func rank(v *value) int {
	d, ok := dims(v)
	if !ok {
		return -1
	}
	return len(d)
}

// extent is a dimension of a value counted from the end, -1 where it is not known.
func extentFromEnd(v *value, back int) int64 {
	d, ok := dims(v)
	if !ok || len(d) < back {
		return -1
	}
	return d[len(d)-back].Value
}

// sameDim reports whether two dimensions are known to be equal.
func sameDim(a, b onnx.Dim) bool {
	if a.Value >= 0 || b.Value >= 0 {
		return a.Value == b.Value
	}
	return a.Param != "" && a.Param == b.Param
}

// sameShape reports whether two values are known to have the same shape.
func sameShape(a, b *value) bool {
	da, ok := dims(a)
	db, okb := dims(b)
	if !ok || !okb || len(da) != len(db) {
		return false
	}
	for i := range da {
		if !sameDim(da[i], db[i]) {
			return false
		}
	}
	return true
}

// tensorOf is a tensor type of which the dimensions may be unknown.
func tensorOf(e onnx.ElemType, d []onnx.Dim, ranked bool) onnx.Type {
	return onnx.Type{Kind: onnx.KindTensor, Elem: e, Ranked: ranked, Dims: d}
}

// unknownDims are n dimensions of which nothing is known.
func unknownDims(n int) []onnx.Dim {
	list := make([]onnx.Dim, n)
	for i := range list {
		list[i] = onnx.Unknown()
	}
	return list
}

// axis counts an axis from the front; false says that it is out of range.
func axis(a int64, rank int) (int, bool) {
	if a < 0 {
		a += int64(rank)
	}
	return int(a), a >= 0 && a < int64(rank)
}

// isAxis reports whether an axis of a value is the one so many from the end.
func isAxis(a int64, v *value, back int) bool {
	return a == int64(-back) || rank(v) >= back && a == int64(rank(v)-back)
}
