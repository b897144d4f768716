// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestCatalogIsSound(t *testing.T) {
	names := map[string]bool{}
	for _, e := range Catalog() {
		if names[e.Name] {
			t.Errorf("%s is listed twice", e.Name)
		}
		names[e.Name] = true
		for i, version := range e.Versions {
			data, err := version().Marshal()
			if err != nil {
				t.Fatalf("%s version %d: %v", e.Name, i+1, err)
			}
			m, err := onnx.Parse(data, onnx.ReadOptions{SkipTensorData: true})
			if err != nil {
				t.Fatalf("%s version %d: %v", e.Name, i+1, err)
			}
			if err := m.Check(); err != nil {
				t.Errorf("%s version %d: %v", e.Name, i+1, err)
			}
			if len(m.Inputs()) == 0 || len(m.Outputs()) == 0 {
				t.Errorf("%s version %d has %d inputs and %d outputs", e.Name, i+1, len(m.Inputs()), len(m.Outputs()))
			}
		}
	}
}

// The digests keep weights from changing unnoticed: recorded results and answers
// that tests elsewhere expect hang on them.
func TestBytesAreFixed(t *testing.T) {
	for want, m := range map[string]*onnx.Model{
		"368400897d66a5f510b5a2b35caf3811c9711736d5dba365efb59cac04eadd41": SmallMLP().Model(),
		"4533fcffaa64ea8718eeedb7cb20a073df5f65feee1c99dce61c9a419bd4ad38": NewConvNet(4).Model(),
		"1ab7d8d37a6e6f46b7a28ceb53268424bb3594941a1512d6f4ebb866319ae8e7": SumDifference("simple", tensor.Int32, false),
	} {
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			t.Errorf("%s: digest is %s, want %s", m.Graph.Name, got, want)
		}
	}
}

// evaluate runs a graph of fully connected layers as its nodes say, apart from what
// Predict knows about the network.
func evaluate(t *testing.T, g *onnx.Graph, row []float32) []float64 {
	t.Helper()
	values := map[string][]float64{g.Inputs[0].Name: widen(row)}
	for i := range g.Initializers {
		v, err := g.Initializers[i].Value()
		if err != nil {
			t.Fatal(err)
		}
		list := make([]float64, len(v.Data)/4)
		for j := range list {
			list[j] = float64(math.Float32frombits(binary.LittleEndian.Uint32(v.Data[4*j:])))
		}
		values[v.Name] = list
	}
	for _, n := range g.Nodes {
		x := values[n.Inputs[0]]
		var y []float64
		switch n.OpType {
		case "Gemm":
			w, b := values[n.Inputs[1]], values[n.Inputs[2]]
			for j := range b {
				sum := b[j]
				for i := range x {
					sum += x[i] * w[i*len(b)+j]
				}
				y = append(y, sum)
			}
		case "Relu":
			for _, v := range x {
				y = append(y, math.Max(v, 0))
			}
		case "Sigmoid":
			for _, v := range x {
				y = append(y, 1/(1+math.Exp(-v)))
			}
		default:
			t.Fatalf("operator %s", n.OpType)
		}
		values[n.Outputs[0]] = y
	}
	return values[g.Outputs[0].Name]
}

func TestPredictDoesWhatTheGraphSays(t *testing.T) {
	for _, m := range []*MLP{SmallMLP(), NewMLP("two_outputs", 9, 3, 5, 2), NewMLP("one_layer", 9, 4, 1)} {
		inputs := newWeights(7)
		for range 5 {
			row := inputs.draw(m.InputWidth(), 1, 1)
			got, want := m.Predict(row), evaluate(t, m.Model().Graph, row)
			if len(got) != m.OutputWidth() || len(want) != len(got) {
				t.Fatalf("%s: %d outputs, want %d", m.name, len(got), m.OutputWidth())
			}
			for i := range got {
				if math.Abs(got[i]-want[i]) > 1e-12 || got[i] <= 0 || got[i] >= 1 {
					t.Errorf("%s: output %d is %v, want %v", m.name, i, got[i], want[i])
				}
			}
		}
	}
}

func TestPredictDependsOnInputAndSeed(t *testing.T) {
	row, other := make([]float32, 32), make([]float32, 32)
	other[31] = 1
	if a, b := SmallMLP().Predict(row), SmallMLP().Predict(other); a[0] == b[0] {
		t.Errorf("two inputs give the same answer %v", a)
	}
	if a, b := SmallMLP().Predict(other), NewMLP("mlp", 99, 32, 64, 32, 1).Predict(other); a[0] == b[0] {
		t.Errorf("two seeds give the same answer %v", a)
	}
}

func TestConvolve(t *testing.T) {
	picture := planes{1, 2, []float64{1, 2, 3, 4}}
	identity := []float32{0, 0, 0, 0, 1, 0, 0, 0, 0}
	right := []float32{0, 0, 0, 0, 0, 1, 0, 0, 0} // takes the pixel on the right
	got := picture.convolve(append(identity, right...), []float32{0, -1})
	want := []float64{1, 2, 3, 4, 1, 0, 3, 0}
	if fmt.Sprint(got.values) != fmt.Sprint(want) || got.channels != 2 {
		t.Errorf("got %v, want %v", got.values, want)
	}
	if pooled := got.pool(); fmt.Sprint(pooled.values) != "[4 3]" || pooled.side != 1 {
		t.Errorf("pooled to %v", pooled)
	}
}

func TestConvNetGivesProbabilities(t *testing.T) {
	net := NewConvNet(4)
	dark := net.Predict(make([]float32, imageSide*imageSide))
	bright := net.Predict(newWeights(5).draw(imageSide*imageSide, 1, 1))
	for _, classes := range [][]float64{dark, bright} {
		sum := 0.0
		for _, p := range classes {
			sum += p
		}
		if len(classes) != 10 || math.Abs(sum-1) > 1e-12 {
			t.Errorf("%d probabilities add up to %v", len(classes), sum)
		}
	}
	if fmt.Sprint(dark) == fmt.Sprint(bright) {
		t.Error("two pictures give the same answer")
	}
}

func TestWrite(t *testing.T) {
	repository := t.TempDir()
	model := SumDifference("simple", tensor.Int32, false)
	e := Entry{Name: "simple", Config: "name: \"simple\"\n", Versions: []func() *onnx.Model{
		func() *onnx.Model { return model }, func() *onnx.Model { return SumDifference("simple", tensor.Int32, true) },
	}}
	for range 2 { // the second time it replaces what is there
		if err := e.Write(repository); err != nil {
			t.Fatal(err)
		}
	}
	want, err := model.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(repository, "simple", "1", "model.onnx"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("version 1 has %d bytes, error %v, want the %d of the model", len(got), err, len(want))
	}
	second, err := os.ReadFile(filepath.Join(repository, "simple", "2", "model.onnx"))
	if err != nil || bytes.Equal(second, got) {
		t.Errorf("version 2 is no other than version 1, error %v", err)
	}
	config, err := os.ReadFile(filepath.Join(repository, "simple", "config.pbtxt"))
	if err != nil || string(config) != e.Config {
		t.Errorf("config is %q, error %v", config, err)
	}
	files, err := filepath.Glob(filepath.Join(repository, "simple", "*", ".*"))
	if err != nil || len(files) != 0 {
		t.Errorf("left over: %v, error %v", files, err)
	}
}

func TestWriteReportsFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, "simple", 1, Add("simple")); err == nil {
		t.Error("a file served as a repository")
	}
}

func TestTreesGrow(t *testing.T) {
	trees := NewTrees("t", 9, 5, 7, 3)
	m := trees.Model()
	n := &m.Graph.Nodes[0]
	if nodes := len(n.Attribute("nodes_treeids").Ints); nodes != 5*(7+6) {
		t.Errorf("%d nodes for 5 trees of 7 leaves", nodes)
	}
	if weights := len(n.Attribute("class_weights").Floats); weights != 5*7 {
		t.Errorf("%d weights", weights)
	}
	for _, f := range n.Attribute("nodes_featureids").Ints {
		if f < 0 || f >= int64(trees.Features()) {
			t.Fatalf("feature %d of %d", f, trees.Features())
		}
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}
