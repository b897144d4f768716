// SPDX-License-Identifier: Apache-2.0

package boost

import (
	"math"
	"reflect"
	"testing"
)

func TestTrainingLowersTheError(t *testing.T) {
	d, test := Synthetic(8000, 1), Synthetic(1000, 2)
	m := Train(d, Options{Trees: 40, Leaves: 31, Rate: 0.2, Seed: 3})
	errorOf := func(m *Model) float64 {
		sum := 0.0
		for i, y := range test.Y {
			e := float64(m.Predict(test.X[i*Features:][:Features]) - y)
			sum += e * e
		}
		return sum / float64(test.Rows())
	}
	base, few, all := errorOf(m.First(0)), errorOf(m.First(10)), errorOf(m)
	if !(all < few && few < 0.8*base && all < 0.4*base) {
		t.Errorf("the squared error falls from %g to %g and %g", base, few, all)
	}
}

func TestShapeOfTrees(t *testing.T) {
	d := Synthetic(8000, 1)
	o := Options{Trees: 10, Leaves: 31, Rate: 0.2, Seed: 3}
	m := Train(d, o)
	s := m.Shape(d.X)
	if s.Trees != 10 || s.LeavesPerTree != 31 || s.ThresholdsMost > 255 {
		t.Errorf("the trees are %+v", s)
	}
	if s.DepthMax < 5 || s.PathMean < 2 || s.PathMean > float64(s.DepthMax) || s.Comparisons < 50 {
		t.Errorf("the trees are %+v", s)
	}
	if !reflect.DeepEqual(m, Train(d, o)) {
		t.Error("the same seed gives other trees")
	}
}

// TestEnsembleAnswersAlike holds the kernels' form to the trees, bit by bit.
func TestEnsembleAnswersAlike(t *testing.T) {
	d := Synthetic(4000, 1)
	m := Train(d, Options{Trees: 7, Leaves: 15, Rate: 0.2, Seed: 3})
	y := make([]float32, d.Rows())
	m.Ensemble().PredictGeneric(d.X, Features, d.Rows(), y, 1)
	for i := range y {
		if want := m.Predict(d.X[i*Features:][:Features]); math.Float32bits(y[i]) != math.Float32bits(want) {
			t.Fatalf("row %d gives %g, the trees %g", i, y[i], want)
		}
	}
}

func TestONNXModelIsSound(t *testing.T) {
	m := Train(Synthetic(1000, 1), Options{Trees: 3, Leaves: 4, Rate: 0.2, Seed: 3})
	model, err := m.ONNX("trees")
	if err != nil {
		t.Fatal(err)
	}
	n := model.Graph.Nodes[0]
	if got := len(n.Attribute("target_weights").Floats); got != 12 {
		t.Errorf("%d leaves, want 12", got)
	}
	if got := len(n.Attribute("nodes_treeids").Ints); got != 21 {
		t.Errorf("%d nodes, want 21", got)
	}
}

func TestBinsOfAColumn(t *testing.T) {
	edges := quantiles([]float32{1, 1, 2, 3, 3, 5})
	if want := []float32{2, 3, 5}; !reflect.DeepEqual(edges, want) {
		t.Fatalf("edges are %v, want %v", edges, want)
	}
	for v, want := range map[float32]uint8{0: 0, 1: 0, 2: 1, 2.5: 1, 3: 2, 5: 3, 9: 3} {
		if got := binOf(edges, v); got != want {
			t.Errorf("%g is in bin %d, want %d", v, got, want)
		}
	}
}
