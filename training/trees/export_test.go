// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training/learn"
)

// exported writes a model that takes features and gives scores, and returns its folder.
func exported(t *testing.T, m learn.Model, features []learn.Feature) string {
	t.Helper()
	b := onnx.NewBuilder("trees")
	b.Input(learn.MatrixName, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(len(features))))
	g := learn.NewGraph(b, learn.MatrixName, features)
	scores, err := m.Export(g)
	if err != nil {
		t.Fatal(err)
	}
	b.Output(scores, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(m.Outputs())))
	content, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ask runs a model on all rows of a table.
func ask(t *testing.T, backend engine.Backend, dir string, table *learn.Table) []float32 {
	t.Helper()
	model, err := backend.Load(t.Context(), dir, &modelconfig.Config{Name: "trees"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = model.Close() }()
	instance, err := model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = instance.Close() }()
	rows, width := table.Rows(), len(table.Features)
	binding, err := instance.Bind([]tensor.Shape{{int64(rows), int64(width)}})
	if err != nil {
		t.Fatal(err)
	}
	input := binding.Inputs[0].Data
	for f, column := range table.Values {
		for i, x := range column {
			binary.LittleEndian.PutUint32(input[4*(i*width+f):], math.Float32bits(x))
		}
	}
	if err := instance.Run(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, len(binding.Outputs[0].Data)/4)
	for i := range scores {
		scores[i] = math.Float32frombits(binary.LittleEndian.Uint32(binding.Outputs[0].Data[4*i:]))
	}
	return scores
}

// atThresholds adds rows whose values are thresholds of the model, or next to them.
func atThresholds(m *model, table *learn.Table) *learn.Table {
	rows := make([]int32, 0, table.Rows())
	for i := range table.Rows() {
		rows = append(rows, int32(i))
	}
	more := table.Select(rows)
	i := 0
	for _, tr := range m.trees {
		for _, n := range tr {
			if n.feature < 0 || n.set >= 0 || i >= more.Rows() {
				continue
			}
			at := n.threshold
			switch i % 3 {
			case 1:
				at = math.Nextafter32(at, float32(math.Inf(1)))
			case 2:
				at = math.Nextafter32(at, float32(math.Inf(-1)))
			}
			more.Values[n.feature][i] = at
			i++
		}
	}
	return more
}

func TestExportedGivesWhatPredictDoes(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		train := mixed(task, 3000, 1)
		m := fitted(t, learn.Values{"trees": 25, "max_leaves": 40, "max_depth": 9}, train, nil, learn.FitOptions{})
		if len(m.sets) == 0 {
			t.Fatal("no split of categories")
		}
		dir, table := exported(t, m, train.Features), atThresholds(m, mixed(task, 2000, 7))
		want := predict(m, table)
		check := func(t *testing.T, backend engine.Backend) {
			for i, got := range ask(t, backend, dir, table) {
				if math.Abs(float64(got-want[i])) > 1e-5*(1+math.Abs(float64(want[i]))) {
					t.Fatalf("score %d is %v, Predict gives %v", i, got, want[i])
				}
			}
		}
		t.Run(task.String()+"/native", func(t *testing.T) { check(t, native.Backend{}) })
		t.Run(task.String()+"/onnxruntime", func(t *testing.T) { check(t, onnxrttest.Backend(t)) })
	}
}

// Reason codes of an exported model add up to its scores.
func TestAttributionsAddUp(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass} {
		train := mixed(task, 2000, 1)
		m := fitted(t, learn.Values{"trees": 20}, train, nil, learn.FitOptions{})
		content, err := os.ReadFile(filepath.Join(exported(t, m, train.Features), "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := onnx.Parse(content, onnx.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := attribution.Open(parsed)
		if err != nil {
			t.Fatal(err)
		}
		scores, row, parts := predict(m, train), make([]float32, len(train.Features)), make([]float64, len(train.Features))
		for i := range 200 {
			for f := range row {
				row[f] = train.Values[f][i]
			}
			for k := range m.Outputs() {
				total := e.ExplainOutput(row, k, parts)
				for _, p := range parts {
					total += p
				}
				if want := float64(scores[i*m.Outputs()+k]); math.Abs(total-want) > 1e-5 {
					t.Fatalf("%v: row %d: parts add up to %v, the score is %v", task, i, total, want)
				}
			}
		}
	}
}

func TestExportWithoutTrees(t *testing.T) {
	table := numbers(learn.Regression, []float32{1, 2, 3, 6}, []float32{7, 7, 7, 7})
	m := newModel(table.Features, []float32{3})
	dir := exported(t, m, table.Features)
	for _, got := range ask(t, native.Backend{}, dir, table) {
		if got != 3 {
			t.Errorf("score %v, want 3", got)
		}
	}
}

// Hit rates are the weights of the rows that came by: attributions need them.
func TestHitRates(t *testing.T) {
	train := mixed(learn.Binary, 3000, 1)
	train.Weights = make([]float32, train.Rows())
	total := 0.0
	for i := range train.Weights {
		train.Weights[i] = float32(1 + i%2)
		total += float64(train.Weights[i])
	}
	m := fitted(t, learn.Values{"trees": 3}, train, nil, learn.FitOptions{})
	for _, tr := range m.trees {
		if float64(tr[0].weight) != total {
			t.Errorf("the root has %v of %v", tr[0].weight, total)
		}
		for _, n := range tr {
			if n.weight <= 0 || n.feature >= 0 && n.weight != tr[n.left].weight+tr[n.left+1].weight {
				t.Errorf("weight %v", n.weight)
			}
		}
	}
}
