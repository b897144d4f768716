// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// badModel is a model that must be refused, when it is loaded or when it is run.
type badModel struct {
	name string
	// want is in the error, beside the operator's name.
	want  string
	build func(b *onnx.Builder)
}

// badBytesMax is what refusing a model may allocate.
const badBytesMax = 8 << 20

// model puts the model together, or gives the error that every reader of models gives.
func (bad *badModel) model() (*onnx.Model, error) {
	b := onnx.NewBuilder("bad")
	b.Opset("", 18)
	b.Opset("ai.onnx.ml", 5)
	b.Input("x", tensor.FP32, onnx.Extent(2), onnx.Extent(3))
	b.Input("i", tensor.Int64, onnx.Extent(2))
	b.Input("s", tensor.Bytes, onnx.Extent(2))
	bad.build(b)
	m, err := b.Model()
	if err == nil && len(m.Graph.Outputs) == 0 {
		b.Output("y", tensor.FP32, onnx.Dim{Value: -1}, onnx.Dim{Value: -1})
	}
	return m, err
}

// marshal is the model as a file, nil where no reader takes it.
func (bad *badModel) marshal() []byte {
	m, err := bad.model()
	if err != nil {
		return nil
	}
	model, err := m.Marshal()
	if err != nil {
		return nil
	}
	return model
}

func (bad *badModel) test(t *testing.T, isRun bool) {
	m, err := bad.model()
	if err != nil {
		if !strings.Contains(err.Error(), bad.want) {
			t.Errorf("error %q lacks %q", err, bad.want)
		}
		return
	}
	model := bad.marshal()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = loadAndRun(t, model, func(inputs []tensor.Tensor) {
		copy(inputs[1].Data, []byte{9})
		inputs[2].Data = tensor.AppendBytes(tensor.AppendBytes(inputs[2].Data, []byte("one")), nil)
	})
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > badBytesMax {
		t.Errorf("%d bytes were allocated", taken)
	}
	last := m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType
	switch {
	case err == nil:
		t.Error("runs")
	case !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), last) && !namesValue(err):
		t.Errorf("error %q lacks %q or %q", err, bad.want, last)
	case isRun != errors.Is(err, engine.ErrInvalidInput) || isRun == errors.Is(err, engine.ErrInvalidModel):
		t.Errorf("error %q is of a wrong class", err)
	}
}

// namesValue reports whether an error is about a value instead of a node.
func namesValue(err error) bool {
	text := err.Error()
	return strings.Contains(text, "initializer") || strings.Contains(text, "output \"") || strings.Contains(text, "most of them for y")
}

func TestBadModels(t *testing.T) {
	for _, list := range [][]badModel{badGraphs, badShapes, badSizes, badTypes, badTrees, badTrees5, badTables} {
		for i := range list {
			t.Run(list[i].name, func(t *testing.T) { list[i].test(t, false) })
		}
	}
}

// TestBadValues checks that what an input holds is an error of the request.
func TestBadValues(t *testing.T) {
	for i := range badValues {
		t.Run(badValues[i].name, func(t *testing.T) { badValues[i].test(t, true) })
	}
}

// of makes a node that reads x and constants.
func of(name string, constants []onnx.Tensor, attributes ...onnx.Attribute) func(b *onnx.Builder) {
	return reads("x", name, constants, attributes...)
}

func reads(input, name string, constants []onnx.Tensor, attributes ...onnx.Attribute) func(b *onnx.Builder) {
	return func(b *onnx.Builder) {
		inputs := []string{input}
		for i, c := range constants {
			c.Name = string(rune('a' + i))
			b.Initializer(c)
			inputs = append(inputs, c.Name)
		}
		domain, opType := "", name
		if table, is := strings.CutPrefix(name, "ml."); is {
			domain, opType = tables, table
		}
		b.DomainNode(domain, opType, inputs, []string{"y"}, attributes...)
	}
}

func list64(values ...int64) onnx.Tensor { return onnx.TensorOf("", values, int64(len(values))) }

func scalar64(value int64) onnx.Tensor { return onnx.TensorOf("", []int64{value}) }

func matrixOf(rows, cols int64) onnx.Tensor {
	return onnx.TensorOf("", make([]float32, rows*cols), rows, cols)
}

var badGraphs = []badModel{
	{"circle", "circle", func(b *onnx.Builder) {
		b.Node("Add", []string{"x", "z"}, []string{"y"})
		b.Node("Relu", []string{"y"}, []string{"z"})
	}},
	{"no such value", "nowhere", func(b *onnx.Builder) { b.Node("Relu", []string{"nowhere"}, []string{"y"}) }},
	{"defined twice", "y", func(b *onnx.Builder) {
		b.Node("Relu", []string{"x"}, []string{"y"})
		b.Node("Abs", []string{"x"}, []string{"y"})
	}},
	{"no such operator", "missing", func(b *onnx.Builder) { b.Node("Conjure", []string{"x"}, []string{"y"}) }},
	{"too many inputs", "inputs", func(b *onnx.Builder) { b.Node("Sigmoid", []string{"x", "x"}, []string{"y"}) }},
	{"no inputs", "inputs", func(b *onnx.Builder) { b.Node("Concat", nil, []string{"y"}, onnx.IntAttribute("axis", 0)) }},
	{"left-out input", "left out", func(b *onnx.Builder) { b.Node("Add", []string{"", "x"}, []string{"y"}) }},
	{"left-out inputs", "", func(b *onnx.Builder) { b.Node("Where", []string{"x", "", "x"}, []string{"y"}) }},
	{"too many outputs", "outputs", func(b *onnx.Builder) { b.Node("Sigmoid", []string{"x"}, []string{"y", "z"}) }},
	{"newer opset", "opset 29", func(b *onnx.Builder) {
		b.Opset("", 29)
		b.Node("Sigmoid", []string{"x"}, []string{"y"})
		b.Node("opset", []string{"x"}, nil)
	}},
}

var badShapes = []badModel{
	{"broadcast", "broadcast", of("Add", []onnx.Tensor{matrixOf(2, 2)})},
	{"product", "", of("MatMul", []onnx.Tensor{matrixOf(4, 2)})},
	{"layer", "", of("Gemm", []onnx.Tensor{matrixOf(3, 2), onnx.TensorOf("", make([]float32, 3), 3)})},
	{"reshape to too much", "elements", of("Reshape", []onnx.Tensor{list64(2, 4)})},
	{"reshape to an overflow", "", of("Reshape", []onnx.Tensor{list64(1<<31, 1<<31, 1<<31)})},
	{"reshape with two unknowns", "", of("Reshape", []onnx.Tensor{list64(-1, -1)})},
	{"reshape to less than nothing", "", of("Reshape", []onnx.Tensor{list64(-2, 2)})},
	{"reshape copying what is not there", "", of("Reshape", []onnx.Tensor{list64(2, 3, 0)})},
	{"perm of another rank", "perm", of("Transpose", nil, onnx.IntsAttribute("perm", 0, 1, 2))},
	{"perm twice", "twice", of("Transpose", nil, onnx.IntsAttribute("perm", 1, 1))},
	{"axis beyond", "axis", of("Softmax", nil, onnx.IntAttribute("axis", 2))},
	{"axis far beyond", "axis", of("Concat", []onnx.Tensor{matrixOf(2, 3)}, onnx.IntAttribute("axis", -1<<63))},
	{"flatten beyond", "axis", of("Flatten", nil, onnx.IntAttribute("axis", 3))},
	{"ranks to join", "", of("Concat", []onnx.Tensor{list64(1)}, onnx.IntAttribute("axis", 0))},
	{"pieces", "pieces", of("Split", []onnx.Tensor{list64(1, 1)}, onnx.IntAttribute("axis", 1))},
	{"negative piece", "pieces", of("Split", []onnx.Tensor{list64(-1, 4)}, onnx.IntAttribute("axis", 1))},
	{"step of 0", "step", of("Slice", []onnx.Tensor{list64(0), list64(1), list64(0), list64(0)})},
	{"bounds of other lengths", "length", of("Slice", []onnx.Tensor{list64(0, 0), list64(1), list64(0)})},
	{"squeeze", "extent", of("Squeeze", []onnx.Tensor{list64(0)})},
	{"unsqueeze twice", "twice", of("Unsqueeze", []onnx.Tensor{list64(0, 0)})},
	{"k of more than there is", "k is 4", of("TopK", []onnx.Tensor{list64(4)})},
	{"negative k", "k is -1", of("TopK", []onnx.Tensor{list64(-1)})},
	{"indices of another rank", "", of("GatherElements", []onnx.Tensor{list64(0)})},
	{"tuples too deep", "", of("GatherND", []onnx.Tensor{list64(0, 0, 0)})},
	{"bounds of a clip", "bound", of("Clip", []onnx.Tensor{onnx.TensorOf("", []float32{0, 1}, 2)})},
	{"empty bound", "bound", of("Clip", []onnx.Tensor{onnx.TensorOf("", []float32{}, 0)})},
	{"empty diagonal", "diagonal", of("Trilu", []onnx.Tensor{list64()})},
	{"blocks", "blocks", of("DepthToSpace", nil, onnx.IntAttribute("blocksize", 2))},
	{"block of 0", "blocksize", of("SpaceToDepth", nil, onnx.IntAttribute("blocksize", 0))},
	{"scale of another length", "", of("LayerNormalization", []onnx.Tensor{onnx.TensorOf("", make([]float32, 2), 2)})},
	{"axis of a scalar", "", func(b *onnx.Builder) {
		b.Node("ReduceMax", []string{"x"}, []string{"r"}, onnx.IntAttribute("keepdims", 0))
		b.Node("ArgMax", []string{"r"}, []string{"y"})
	}},
	{"lookup in a scalar", "", func(b *onnx.Builder) {
		b.Node("ReduceMax", []string{"x"}, []string{"r"}, onnx.IntAttribute("keepdims", 0))
		b.Node("Gather", []string{"r", "i"}, []string{"y"})
	}},
}

var badSizes = []badModel{
	{"expand", "", of("Expand", []onnx.Tensor{list64(1<<33, 2, 3)})},
	{"expand to more than fits", "", of("Expand", []onnx.Tensor{list64(1<<62, 2, 3)})},
	{"expand to nothing, often", "", of("Expand", []onnx.Tensor{list64(1<<40, 0, 2, 3)})},
	{"expand to less than nothing", "", of("Expand", []onnx.Tensor{list64(-1, 2, 3)})},
	{"tile", "", of("Tile", []onnx.Tensor{list64(1<<40, 1)})},
	{"tile to more than fits", "", of("Tile", []onnx.Tensor{list64(1<<30, 1<<30)})},
	{"tile less than never", "repeats", of("Tile", []onnx.Tensor{list64(-1, 1)})},
	{"pad", "", of("Pad", []onnx.Tensor{list64(1<<40, 0, 0, 0)})},
	{"pad more than fits", "", of("Pad", []onnx.Tensor{list64(1<<31, 1<<31, 1<<31, 1<<31)})},
	{"take away more than there is", "pads", of("Pad", []onnx.Tensor{list64(-3, 0, 0, 0)})},
	{"reflect beyond the end", "pads", of("Pad", []onnx.Tensor{list64(2, 0, 0, 0)}, onnx.StringAttribute("mode", "reflect"))},
	{"one-hot", "", reads("i", "OneHot", []onnx.Tensor{scalar64(1 << 50), onnx.TensorOf("", []float32{0, 1}, 2)})},
	{"negative one-hot", "depth", reads("i", "OneHot", []onnx.Tensor{scalar64(-1), onnx.TensorOf("", []float32{0, 1}, 2)})},
	{"constant", "", func(b *onnx.Builder) {
		b.Initializer(onnx.TensorOf("d", []int64{1 << 20, 1 << 13}, 2))
		b.Node("ConstantOfShape", []string{"d"}, []string{"c"})
		b.Node("Add", []string{"x", "c"}, []string{"y"})
		b.Node("ConstantOfShape", []string{"d"}, []string{"c2"})
	}},
	{"range", "", func(b *onnx.Builder) {
		for name, v := range map[string]int64{"from": 0, "to": 1 << 60, "step": 1} {
			b.Initializer(onnx.TensorOf(name, []int64{v}))
		}
		b.Node("Range", []string{"from", "to", "step"}, []string{"y"})
	}},
	{"product of nothing", "initializer", of("MatMul", []onnx.Tensor{onnx.TensorOf("", []float32{}, 1<<33, 3, 0)})},
	{"outer product", "", func(b *onnx.Builder) {
		b.Node("Reshape", []string{"x", "flat"}, []string{"v"})
		b.Initializer(onnx.TensorOf("flat", []int64{6, 1}, 2))
		b.Initializer(onnx.TensorOf("wide", []int64{6, 1 << 29}, 2))
		b.Node("Expand", []string{"v", "wide"}, []string{"y"})
	}},
}

var badTypes = []badModel{
	{"text as an axis", "axis", of("Softmax", nil, onnx.StringAttribute("axis", "1"))},
	{"list as an axis", "axis", of("Gather", []onnx.Tensor{list64(0)}, onnx.IntsAttribute("axis", 0))},
	{"number as a tensor", "value", reads("i", "ConstantOfShape", nil, onnx.IntAttribute("value", 1))},
	{"reference outside a function", "outside", of("Softmax", nil, onnx.Attribute{Name: "axis", Type: onnx.AttributeInt, Ref: "outer"})},
	{"different types", "", of("Add", []onnx.Tensor{list64(1)})},
	{"types to compare", "", of("Less", []onnx.Tensor{list64(1)})},
	{"choice by numbers", "", of("Where", []onnx.Tensor{matrixOf(2, 3), matrixOf(2, 3)})},
	{"texts to add", "", reads("s", "Add", []onnx.Tensor{list64(1)})},
	{"indices of floats", "", of("Gather", []onnx.Tensor{matrixOf(1, 1)})},
	{"shape of floats", "", of("Reshape", []onnx.Tensor{matrixOf(1, 2)})},
	{"cast to nothing", "to", of("Cast", nil, onnx.IntAttribute("to", 99))},
	{"cast to no more", "to", of("Cast", nil, onnx.IntAttribute("to", -7))},
	{"unknown mode", "mode", of("Pad", []onnx.Tensor{list64(0, 1, 0, 0)}, onnx.StringAttribute("mode", "guess"))},
	{"unknown reduction", "reduction", of("ScatterElements", []onnx.Tensor{list64(0), matrixOf(1, 1)}, onnx.StringAttribute("reduction", "xor"))},
	{"unknown approximation", "approximate", func(b *onnx.Builder) {
		b.Opset("", 20)
		b.Node("Gelu", []string{"x"}, []string{"y"}, onnx.StringAttribute("approximate", "roughly"))
	}},
	{"training by number", "training", of("Dropout", []onnx.Tensor{onnx.TensorOf("", []float32{0.5}), list64()})},
	{"empty training", "training", of("Dropout", []onnx.Tensor{onnx.TensorOf("", []float32{0.5}), onnx.TensorOf("", []bool{}, 0)})},
	{"diagonal of texts", "", func(b *onnx.Builder) {
		b.Node("EyeLike", []string{"x"}, []string{"t"}, onnx.IntAttribute("dtype", int64(onnx.ElemString)))
		b.Output("t", tensor.Bytes, onnx.Extent(2), onnx.Extent(3))
	}},
	{"another type than declared", `output "declared"`, func(b *onnx.Builder) {
		b.Node("Relu", []string{"x"}, []string{"declared"})
		b.Output("declared", tensor.Int64, onnx.Extent(2), onnx.Extent(3))
	}},
	{"wrong value of a constant", "", func(b *onnx.Builder) {
		b.Node("Add", []string{"x", "c"}, []string{"y"})
		b.Node("Constant", nil, []string{"c"}, onnx.IntAttribute("value", 3))
	}},
	{"no value of a constant", "", func(b *onnx.Builder) {
		b.Node("Add", []string{"x", "c"}, []string{"y"})
		b.Node("Constant", nil, []string{"c"})
	}},
}

var badValues = []badModel{
	{"constant index", "7", of("Gather", []onnx.Tensor{list64(7)}, onnx.IntAttribute("axis", 1))},
	{"index", "9", func(b *onnx.Builder) {
		b.Initializer(onnx.TensorOf("table", make([]float32, 8), 4, 2))
		b.Node("Gather", []string{"table", "i"}, []string{"y"})
	}},
	{"index of an element", "index 9", func(b *onnx.Builder) {
		b.Initializer(onnx.TensorOf("flat", make([]float32, 2), 2))
		b.Node("GatherElements", []string{"flat", "i"}, []string{"y"})
		b.Output("y", tensor.FP32, onnx.Extent(2))
	}},
	{"index of a tuple", "index 9", func(b *onnx.Builder) {
		b.Node("GatherND", []string{"x", "i"}, []string{"y"})
		b.Output("y", tensor.FP32)
	}},
	{"index of an update", "index 9", func(b *onnx.Builder) {
		b.Initializer(onnx.TensorOf("flat", make([]float32, 2), 2))
		b.Node("ScatterElements", []string{"flat", "i", "flat"}, []string{"y"})
		b.Output("y", tensor.FP32, onnx.Extent(2))
	}},
	{"feature", "index 9", func(b *onnx.Builder) {
		b.DomainNode("ai.onnx.ml", "ArrayFeatureExtractor", []string{"x", "i"}, []string{"y"})
	}},
	{"category", "9", reads("i", "ml.OneHotEncoder", nil, onnx.IntsAttribute("cats_int64s", 0), onnx.IntAttribute("zeros", 0))},
	{"word", "one", reads("s", "ml.OneHotEncoder", nil, onnx.StringsAttribute("cats_strings", "two"), onnx.IntAttribute("zeros", 0))},
	{"text of no number", "one", func(b *onnx.Builder) {
		b.Node("Cast", []string{"s"}, []string{"y"}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		b.Output("y", tensor.FP32, onnx.Extent(2))
	}},
}
