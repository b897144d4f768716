// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// marshal finishes a model.
func marshal(t *testing.T, b *onnx.Builder) []byte {
	t.Helper()
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestInputsByName runs models with an input for each column, of several types: the answer
// is the sum of the columns.
func TestInputsByName(t *testing.T) {
	dir := t.TempDir()
	b := onnx.NewBuilder("sum")
	b.Input("a", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	b.Input("b", tensor.Int64, onnx.Symbol("rows"), onnx.Extent(1))
	b.Input("c", tensor.FP64, onnx.Symbol("rows"), onnx.Extent(1))
	b.Node("Cast", []string{"b"}, []string{"b32"}, onnx.IntAttribute("to", 1))
	b.Node("Cast", []string{"c"}, []string{"c32"}, onnx.IntAttribute("to", 1))
	b.Node("Add", []string{"a", "b32"}, []string{"ab"})
	b.Node("Add", []string{"ab", "c32"}, []string{"sum"})
	b.Output("sum", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	model, data := filepath.Join(dir, "sum.onnx"), filepath.Join(dir, "data.csv")
	writeFile(t, model, marshal(t, b))
	var text strings.Builder
	text.WriteString("c,b,a,y\n")
	for i := range 200 {
		fmt.Fprintf(&text, "%d.5,%d,0.25,%v\n", i%7, i, float64(i%7)+0.75+float64(i)+0.125)
	}
	writeFile(t, data, []byte(text.String()))
	draws := 0
	o := Options{Spec: Spec{Data: data, Label: "y", Model: model, Bootstrap: Bootstrap{Draws: &draws}}, NoLatency: true}
	r := evaluate(t, o)
	if mae := metricNamed(t, r.Metrics, "mae"); r.Task != "regression" || math.Abs(*mae.Value.Value-0.125) > 1e-6 || mae.Value.Low != nil {
		t.Errorf("the error is %+v, want 0.125 without an interval", mae.Value)
	}
	writeFile(t, data, []byte("c,b,a,y\n1,1,1,3\n1,,1,3\n"))
	if _, err := Evaluate(t.Context(), o); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "row 2: column b") {
		t.Errorf("a null for a whole number gives %v", err)
	}
}

// TestOneFeature: a matrix of one column takes the column of its own name, or the one listed.
func TestOneFeature(t *testing.T) {
	dir := t.TempDir()
	b := onnx.NewBuilder("one")
	b.Input("x", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	b.Node("Neg", []string{"x"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	model, data := filepath.Join(dir, "one.onnx"), filepath.Join(dir, "data.csv")
	writeFile(t, model, marshal(t, b))
	writeFile(t, data, []byte("x,other,y\n1,5,-1\n2,5.5,-2\n4,6.25,-4\n"))
	draws := 0
	for _, test := range []struct {
		features []string
		mae      float64
	}{{nil, 0}, {[]string{"other"}, (4 + 3.5 + 2.25) / 3}} {
		r := evaluate(t, Options{Spec: Spec{Data: data, Label: "y", Model: model, Features: test.features, Bootstrap: Bootstrap{Draws: &draws}}, NoLatency: true})
		if got := *metricNamed(t, r.Metrics, "mae").Value.Value; math.Abs(got-test.mae) > 1e-12 {
			t.Errorf("with %v the error is %v, want %v", test.features, got, test.mae)
		}
	}
}

// TestFixedRows runs a model that takes four rows at a time over ten.
func TestFixedRows(t *testing.T) {
	dir := t.TempDir()
	b := onnx.NewBuilder("four")
	b.Input("x", tensor.FP32, onnx.Extent(4), onnx.Extent(2))
	b.Initializer(onnx.TensorOf("weights", []float32{1, 10}, 2, 1))
	b.Node("MatMul", []string{"x", "weights"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Extent(4), onnx.Extent(1))
	model, data := filepath.Join(dir, "four.onnx"), filepath.Join(dir, "data.csv")
	writeFile(t, model, marshal(t, b))
	text := "a,b,label\n"
	for i := range 10 {
		text += fmt.Sprintf("%d.5,%d,%v\n", i, 10-i, float64(i)+0.5+float64(100-10*i))
	}
	writeFile(t, data, []byte(text))
	draws := 20
	r := evaluate(t, Options{Spec: Spec{Data: data, Label: "label", Model: model, Features: []string{"a", "b"}, Bootstrap: Bootstrap{Draws: &draws}}, NoLatency: true})
	if mae := metricNamed(t, r.Metrics, "mae"); *mae.Value.Value != 0 || r.Data.Rows != 10 {
		t.Errorf("the error over %d rows is %v", r.Data.Rows, *mae.Value.Value)
	}
}

// threeClasses says the class of a number: softmax over three scores.
func threeClasses(t *testing.T, metadata string) []byte {
	b := onnx.NewBuilder("three")
	if metadata != "" {
		b.Metadata(signatureKey, metadata)
	}
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(2))
	b.Initializer(onnx.TensorOf("weights", []float32{5, 0, -5, 0, 5, 0}, 2, 3))
	b.Node("MatMul", []string{"input", "weights"}, []string{"scores"})
	b.Node("Softmax", []string{"scores"}, []string{"probabilities"}, onnx.IntAttribute("axis", 1))
	b.Output("probabilities", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(3))
	return marshal(t, b)
}

func TestMulticlass(t *testing.T) {
	dir := t.TempDir()
	model, data := filepath.Join(dir, "three.onnx"), filepath.Join(dir, "data.csv")
	writeFile(t, model, threeClasses(t, ""))
	// Class 0 where a is large, 1 where b is, 2 where a is negative; every tenth row is wrong.
	text := "a,b,y\n"
	names := []string{"refund", "card", "other"}
	for i := range 300 {
		class := i % 3
		a, b := [3]float64{1, 0, -1}[class], [3]float64{0, 1, 0}[class]
		if i%10 == 0 {
			class = (class + 1) % 3
		}
		text += fmt.Sprintf("%v,%v,%s\n", a, b, names[class])
	}
	writeFile(t, data, []byte(text))
	draws := 30
	o := Options{Spec: Spec{Data: data, Label: "y", Model: model, Features: []string{"a", "b"}, Classes: names, Bootstrap: Bootstrap{Draws: &draws}}, NoLatency: true}
	r := evaluate(t, o)
	if m := metricNamed(t, r.Metrics, "accuracy"); r.Task != "multiclass" || math.Abs(*m.Value.Value-0.9) > 1e-12 || r.Plots.Confusion.Counts[0][0] != 90 || r.Data.Classes["card"] != 100 {
		t.Errorf("%s: accuracy %v, %+v", r.Task, *m.Value.Value, r.Plots.Confusion)
	}
	o.Spec.Classes = []string{"refund", "card"}
	if _, err := Evaluate(t.Context(), o); !errors.Is(err, ErrData) || !strings.Contains(err.Error(), `row 3: the label y is "other"`) {
		t.Errorf("a class that is not listed gives %v", err)
	}
	o.Spec.Classes = append(names, "more")
	if _, err := Evaluate(t.Context(), o); !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "predicts 3 classes, the label has 4") {
		t.Errorf("too many classes give %v", err)
	}
	// Scores that are no probabilities are refused unless they are declared so.
	o.Spec.Classes, o.Spec.Output = names, "scores"
	b := onnx.NewBuilder("raw")
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(2))
	b.Initializer(onnx.TensorOf("weights", []float32{.1, 0, .5, 0, .1, .2}, 2, 3))
	b.Node("MatMul", []string{"input", "weights"}, []string{"scores"})
	b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(3))
	writeFile(t, model, marshal(t, b))
	if _, err := Evaluate(t.Context(), o); !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "row 1: the probabilities sum to 0.6") {
		t.Errorf("scores that are no probabilities give %v", err)
	}
	o.Spec.Uncalibrated = true
	if m := metricNamed(t, evaluate(t, o).Metrics, "accuracy"); m.Value.Value == nil {
		t.Error("uncalibrated scores have no accuracy")
	}
	o.Spec.Uncalibrated, o.Spec.Output = false, ""
	// The model's metadata has the classes too.
	writeFile(t, model, threeClasses(t, `{"features":[{"name":"a"},{"name":"b"}],"classes":["refund","card","other"]}`))
	o.Spec.Classes, o.Spec.Features = nil, nil
	if m := metricNamed(t, evaluate(t, o).Metrics, "accuracy"); math.Abs(*m.Value.Value-0.9) > 1e-12 {
		t.Errorf("with the model's classes the accuracy is %v", *m.Value.Value)
	}
}

// TestChampionWithOtherInputs: models of other features, and of other outputs, are compared
// on the same rows.
func TestChampionWithOtherInputs(t *testing.T) {
	w := newWorld(t, 400)
	two, named := filepath.Join(w.folder, "two.onnx"), filepath.Join(w.folder, "named.onnx")
	writeFile(t, two, classifier(t, goodWeights[:2], `{"features":[{"name":"amount"},{"name":"age"}]}`))
	b := onnx.NewBuilder("named")
	b.Input("amount", tensor.FP32, onnx.Symbol("rows"))
	b.Node("Sigmoid", []string{"amount"}, []string{"score"})
	b.Output("score", tensor.FP32, onnx.Symbol("rows"))
	writeFile(t, named, marshal(t, b))
	for _, champion := range []string{two, named} {
		o := w.options()
		o.Spec.Against, o.Spec.Slices, o.Spec.Leakage, o.Spec.Output = champion, nil, Leakage{}, "probabilities"
		r := evaluate(t, o)
		if m := metricNamed(t, r.Metrics, "roc_auc"); *m.Difference.Value <= 0 || *m.Against.Value < 0.6 {
			t.Errorf("%s: the champion's ROC AUC is %v, the difference %v", champion, *m.Against.Value, *m.Difference.Value)
		}
	}
}

// TestUncalibratedScores ranks by scores that are no probabilities.
func TestUncalibratedScores(t *testing.T) {
	w := newWorld(t, 400)
	o := w.options()
	o.Spec.Model, o.Spec.Against, o.Spec.Score, o.Spec.AgainstScore = "", "", "amount", "night"
	o.Spec.Metrics, o.Spec.Uncalibrated, o.Spec.Slices = nil, true, nil
	r := evaluate(t, o)
	if len(r.Metrics) != 3 || r.Plots.Reliability != nil || len(r.Plots.Scores) != 2 || r.Plots.Scores[0].Edges[0] >= 0 {
		t.Errorf("metrics %+v, plots %+v", r.Metrics, r.Plots)
	}
}

// TestOneOfManyClasses judges one column of a multi-class model as a binary one.
func TestOneOfManyClasses(t *testing.T) {
	dir := t.TempDir()
	model, data := filepath.Join(dir, "three.onnx"), filepath.Join(dir, "data.csv")
	writeFile(t, model, threeClasses(t, ""))
	text := "a,b,y\n"
	for i := range 90 {
		text += [3]string{"1,0,refund\n", "0,1,card\n", "-1,0,other\n"}[i%3]
	}
	writeFile(t, data, []byte(text))
	draws, class := 20, 2
	o := Options{Spec: Spec{Data: data, Label: "y", Positive: "other", Model: model, Class: &class, Features: []string{"a", "b"}, Bootstrap: Bootstrap{Draws: &draws}}, NoLatency: true}
	r := evaluate(t, o)
	if m := metricNamed(t, r.Metrics, "roc_auc"); r.Task != "binary" || *m.Value.Value != 1 || r.Data.Positives != 30 {
		t.Errorf("%s with %d positives: %v", r.Task, r.Data.Positives, *m.Value.Value)
	}
}

// TestCurves checks the points of the plots against values found by hand.
func TestCurves(t *testing.T) {
	e := &run{task: metric.Binary, spec: &Spec{}, labels: []float64{1, 0, 1, 0}, classes: []string{"0", "1"}}
	e.spec.EnsureDefaults()
	roc, pr := e.curves("m", []float64{0.9, 0.6, 0.6, 0.1})
	if fmt.Sprint(roc.X, roc.Y) != "[0 0 0.5 1] [0 0.5 1 1]" || fmt.Sprint(pr.X) != "[0.5 1 1]" || fmt.Sprintf("%.3f", pr.Y) != "[1.000 0.667 0.500]" {
		t.Errorf("ROC %v, precision-recall %v", roc, pr)
	}
	long := make([]float64, 10_000)
	for i := range long {
		long[i] = float64(i) / 9999
	}
	thin := thinCurve(thinned("x", long, long))
	if n := len(thin.X); n > 500 || n < 400 {
		t.Errorf("%d points are left", n)
	}
	e.labels, e.scores = make([]float64, 10_000), long
	for i := range e.labels {
		e.labels[i] = float64(i % 2)
	}
	roc, _ = e.curves("m", long)
	if n := len(roc.X); n > 500 || roc.X[n-1] != 1 || roc.Y[n-1] != 1 || roc.X[0] != 0 {
		t.Errorf("the thinned curve has %d points and ends at %v, %v", n, roc.X[n-1], roc.Y[n-1])
	}
	bins := e.reliability("m", long)
	if len(bins.X) != 10 || bins.Counts[3] != 1000 || math.Abs(bins.X[3]-0.35) > 1e-3 || bins.Y[3] != 0.5 {
		t.Errorf("the bins are %+v", bins)
	}
	if h := e.histograms(); h[0].Counts[0]+h[1].Counts[0] != 250 || len(h[0].Edges) != 41 {
		t.Errorf("the histograms are %+v", h)
	}
	if same := e.reliability("m", constant(10_000, 0.5)); len(same.X) != 1 || same.Counts[0] != 10_000 {
		t.Errorf("equal scores are in bins %+v", same)
	}
}

// TestManyBatches predicts more rows than a batch has, with several goroutines: each row
// gets its own prediction.
func TestManyBatches(t *testing.T) {
	const rows = 2*batchRows + 77
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	writeFile(t, path, classifier(t, goodWeights, featuresMetadata))
	o := Options{}
	o.EnsureDefaults()
	m, err := openModel(t.Context(), o.Backend, path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.model.Close()
	if err := errors.Join(m.bind(nil, nil), m.choose("")); err != nil {
		t.Fatal(err)
	}
	list := payments(9, rows, time.Unix(0, 0))
	batch := &column.Batch{Rows: rows, Columns: make([]column.Column, len(featureNames))}
	numbers := make([]int32, rows)
	for f, name := range featureNames {
		batch.Columns[f] = column.Column{Name: name, Type: column.Float64}
		for _, p := range list {
			batch.Columns[f].AppendNumber(p.features[f])
		}
	}
	p, err := newPredictor(m, batch, numbers)
	if err != nil {
		t.Fatal(err)
	}
	scores, outputs, err := p.all(t.Context(), 4, func(int64) {})
	if err != nil || outputs != 2 || len(scores) != 2*rows {
		t.Fatalf("%d scores in %d columns: %v", len(scores), outputs, err)
	}
	for i, row := range list {
		if math.Abs(scores[2*i+1]-row.score) > 1e-5 {
			t.Fatalf("row %d is %v, want %v", i, scores[2*i+1], row.score)
		}
	}
}

// TestSlicesAreNotLost: groups whose names are alike, as short as they are written, are all
// measured.
func TestSlicesAreNotLost(t *testing.T) {
	wide := column.Column{Name: "wide", Type: column.Int64}
	kind := column.Column{Name: "kind", Type: column.String}
	e := &run{Options: Options{Spec: Spec{SliceRowsMin: 10}}, task: metric.Regression, rows: &column.Batch{Rows: 800}}
	e.spec = &e.Spec
	for i := range e.rows.Rows {
		wide.AppendInt(9_000_000_000 + int64(i))
		if i%2 == 0 {
			kind.AppendNull()
		} else {
			kind.AppendText("null")
		}
	}
	e.rows.Columns = []column.Column{wide, kind}
	e.slices = []slicing{{columns: []string{"wide"}}, {columns: []string{"kind"}}, {columns: []string{"kind"}}}
	parts, err := e.parts()
	if err != nil {
		t.Fatal(err)
	}
	rows, names := 0, map[string]bool{}
	for _, p := range parts {
		rows += len(p.rows)
		if names[p.name] {
			t.Errorf("two slices are named %s", p.name)
		}
		names[p.name] = true
	}
	if rows != 2*800 || len(parts) != binsDefault+2 {
		t.Errorf("%d slices of %d rows in all: %v", len(parts), rows, names)
	}
}
