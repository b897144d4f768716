// SPDX-License-Identifier: Apache-2.0

package native

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// departure is a place where ONNX Runtime departs from the standard, or from its own
// answers elsewhere, and this engine does not follow.
type departure struct {
	name   string
	opType string
	// attributes of a tree with the test x <= 0; x is -1, or NaN, in the first row, 1 in the
	// second.
	attributes []onnx.Attribute
	nan        bool
	labels     []int64     // nil for regressors
	scores     [][]float32 // by row
}

func sigmoid(x float64) float32 { return float32(1 / (1 + math.Exp(-x))) }

// classes turns the stump into a classifier with weights for classes, given by leaf.
func classes(transform string, ids []int64, weights ...float32) []onnx.Attribute {
	var trees, nodes []int64
	for i := range ids {
		trees, nodes = append(trees, 0), append(nodes, 1+int64(i*2/len(ids)))
	}
	list := slices.DeleteFunc(zeroStump(), func(a onnx.Attribute) bool { return a.Name[:5] != "nodes" })
	return append(list, onnx.IntsAttribute("class_treeids", trees...), onnx.IntsAttribute("class_nodeids", nodes...),
		onnx.IntsAttribute("class_ids", ids...), onnx.FloatsAttribute("class_weights", weights...),
		onnx.IntsAttribute("classlabels_int64s", 10, 11), onnx.StringAttribute("post_transform", transform))
}

// zeroStump compares feature 0 with 0.
func zeroStump() []onnx.Attribute {
	return with(stump(), onnx.IntsAttribute("nodes_featureids", 0, 0, 0), onnx.FloatsAttribute("nodes_values", 0, 0, 0))
}

var departures = []departure{
	{
		name: "NaN takes the branch that the model names whatever is compared", opType: "TreeEnsembleRegressor", nan: true,
		attributes: with(zeroStump(), onnx.StringsAttribute("nodes_modes", "BRANCH_NEQ", "LEAF", "LEAF")),
		scores:     [][]float32{{2}, {1}},
	},
	{
		name: "LOGISTIC of one target is the logistic function", opType: "TreeEnsembleRegressor",
		attributes: with(zeroStump(), onnx.StringAttribute("post_transform", "LOGISTIC")),
		scores:     [][]float32{{sigmoid(1)}, {sigmoid(2)}},
	},
	{
		name: "SOFTMAX of one target is 1", opType: "TreeEnsembleRegressor",
		attributes: with(zeroStump(), onnx.StringAttribute("post_transform", "SOFTMAX")),
		scores:     [][]float32{{1}, {1}},
	},
	{
		name: "LOGISTIC of one target of a TreeEnsemble", opType: "TreeEnsemble",
		attributes: with(stump5(), onnx.IntsAttribute("nodes_featureids", 0), onnx.TensorAttribute("nodes_splits", floatsTensor(0)),
			onnx.IntAttribute("post_transform", 2)),
		scores: [][]float32{{sigmoid(1)}, {sigmoid(2)}},
	},
	{
		name: "base value of a target without weights", opType: "TreeEnsembleRegressor",
		attributes: with(zeroStump(), onnx.IntAttribute("n_targets", 2), onnx.IntsAttribute("target_ids", 0, 1),
			onnx.FloatsAttribute("base_values", 0.25, 0.5), onnx.StringAttribute("aggregate_function", "AVERAGE")),
		scores: [][]float32{{1.25, 0.5}, {0.25, 2.5}},
	},
	{
		name: "label of a binary classifier with LOGISTIC and weights of at least 0 agrees with its probabilities", opType: "TreeEnsembleClassifier",
		attributes: classes("LOGISTIC", []int64{1, 1}, 0.2, 0.7),
		labels:     []int64{11, 11},
		scores:     [][]float32{{sigmoid(-0.2), sigmoid(0.2)}, {sigmoid(-0.7), sigmoid(0.7)}},
	},
	{
		name: "label of a classifier with weights for both classes is that of the larger", opType: "TreeEnsembleClassifier",
		attributes: classes("NONE", []int64{0, 1, 0, 1}, 0.4, 0.3, 0.6, 0.7),
		labels:     []int64{10, 11},
		scores:     [][]float32{{0.4, 0.3}, {0.6, 0.7}},
	},
	{
		name: "label may be of a class without weights on the way of a row", opType: "TreeEnsembleClassifier",
		attributes: with(classes("NONE", []int64{0, 1}, -1, -2), onnx.IntsAttribute("classlabels_int64s", 10, 11, 12)),
		labels:     []int64{11, 10},
		scores:     [][]float32{{-1, 0, 0}, {0, -2, 0}},
	},
}

// TestNotCopiedFromONNXRuntime holds the engine to its own answers, and says where ONNX
// Runtime is installed what that gives.
func TestNotCopiedFromONNXRuntime(t *testing.T) {
	var other *onnxrt.Backend
	t.Run("installed", func(t *testing.T) { other = onnxrttest.Backend(t) })
	x := tensor.Tensor{Datatype: tensor.FP32, Shape: tensor.Shape{2, 3}, Data: make([]byte, 24)}
	putFloat(x.Data[12:], 1)
	for _, d := range departures {
		t.Run(d.name, func(t *testing.T) {
			putFloat(x.Data, -1)
			if d.nan {
				putFloat(x.Data, float32(math.NaN()))
			}
			folder := writeModel(t, d.model(t))
			d.check(t, answers(t, instanceOf(t, Backend{}, folder, 1), []tensor.Tensor{x}))
			if other == nil {
				return
			}
			list, err := d.elsewhere(other, folder, x)
			t.Logf("ONNX Runtime gives %v, %v", list, err)
		})
	}
}

func (d *departure) model(t *testing.T) []byte {
	b := onnx.NewBuilder("departure")
	b.Opset("ai.onnx.ml", 3)
	if d.opType == "TreeEnsemble" {
		b.Opset("ai.onnx.ml", 5)
	}
	b.Input("x", tensor.FP32, onnx.Dim{Value: -1}, onnx.Extent(3))
	outputs := []string{"scores"}
	if d.labels != nil {
		outputs = []string{"labels", "scores"}
		b.Output("labels", tensor.Int64, onnx.Dim{Value: -1})
	}
	b.Output("scores", tensor.FP32, onnx.Dim{Value: -1}, onnx.Dim{Value: -1})
	b.DomainNode(tables, d.opType, []string{"x"}, outputs, d.attributes...)
	model, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func (d *departure) check(t *testing.T, got []tensor.Tensor) {
	t.Helper()
	scores := got[len(got)-1]
	for i, want := range slices.Concat(d.scores...) {
		if x := floatOf(scores.Data[4*i:]); math.Abs(x-float64(want)) > 1e-6 {
			t.Errorf("score %d is %g, want %g", i, x, want)
		}
	}
	for i, want := range d.labels {
		if label := int64(binary.LittleEndian.Uint64(got[0].Data[8*i:])); label != want {
			t.Errorf("label %d is %d, want %d", i, label, want)
		}
	}
}

// elsewhere gives the numbers of all outputs of another backend.
func (d *departure) elsewhere(other engine.Backend, folder string, x tensor.Tensor) (list []float64, err error) {
	m, err := other.Load(onlyContext, folder, noConfig)
	if err != nil {
		return nil, err
	}
	in, err := m.NewInstance(onOneThread)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	defer func() { err = errors.Join(err, in.Close(), m.Close()) }()
	outputs, err := ask(in, []tensor.Tensor{x})
	for _, out := range outputs {
		for at := 0; at < len(out.Data); at += out.Datatype.Size() {
			if out.Datatype == tensor.Int64 {
				list = append(list, float64(binary.LittleEndian.Uint64(out.Data[at:])))
			} else {
				list = append(list, floatOf(out.Data[at:]))
			}
		}
	}
	return list, err
}
