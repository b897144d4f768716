// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func quickLab(t *testing.T, peer engine.Backend) *Lab {
	t.Helper()
	return NewLab(Options{Native: native.Backend{}, Peer: peer, Folder: t.TempDir(), Quick: true})
}

// skewed is the native engine with a slip in each run, and an allocation.
type skewed struct{ native.Backend }

type skewedModel struct{ engine.Model }

type skewedInstance struct{ engine.Instance }

func (b skewed) Load(ctx context.Context, dir string, c *modelconfig.Config) (engine.Model, error) {
	m, err := b.Backend.Load(ctx, dir, c)
	return skewedModel{m}, err
}

func (m skewedModel) NewInstance(p engine.Placement) (engine.Instance, error) {
	in, err := m.Model.NewInstance(p)
	return skewedInstance{in}, err
}

var kept []byte

func (in skewedInstance) Run(ctx context.Context, b *engine.Binding) error {
	kept = make([]byte, 100)
	err := in.Instance.Run(ctx, b)
	b.Outputs[0].Data[0] ^= 0xff
	b.Outputs[0].Data[2] ^= 0xff
	return err
}

// TestWrongOutputsAreNotTimed has every measurement that compares engines fail against
// a peer that computes something else.
func TestWrongOutputsAreNotTimed(t *testing.T) {
	l := quickLab(t, skewed{})
	for name, measure := range map[string]func(context.Context, *Lab) ([]float64, any, error){
		"trees": Trees, "f32": Products, "int8": Bytes, "mlp": Networks, "operators": Operators,
	} {
		if values, _, err := measure(t.Context(), l); !errors.Is(err, ErrOutputsDiffer) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: values %v, error %v", name, values, err)
		}
	}
}

// TestNativeAgainstItself measures everything that needs no other engine.
func TestNativeAgainstItself(t *testing.T) {
	l := quickLab(t, native.Backend{})
	for _, c := range []struct {
		name    string
		measure func(context.Context, *Lab) ([]float64, any, error)
		values  int
	}{
		{"trees", Trees, 6}, {"f32", Products, 4}, {"int8", Bytes, 3}, {"bf16", Halves, 1}, {"mlp", Networks, 3}, {"operators", Operators, 5},
	} {
		values, details, err := c.measure(t.Context(), l)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("%s: %v", c.name, err)
			continue
		}
		if err != nil || len(values) != c.values {
			t.Fatalf("%s: values %v, error %v", c.name, values, err)
		}
		cases, ok := details.([]Case)
		if trees, isTrees := details.(treeDetails); isTrees {
			cases, ok = trees.Cases, true
		}
		if !ok || len(cases) == 0 {
			t.Fatalf("%s: details are %T", c.name, details)
		}
		for _, measured := range cases {
			if measured.Checksum == 0 || measured.Value.Median <= 0 || len(measured.Times) < 2 {
				t.Errorf("%s: the case is %+v", c.name, measured)
			}
		}
	}
}

func TestAllocationsAreSeen(t *testing.T) {
	l := quickLab(t, nil)
	for _, c := range []struct {
		backend engine.Backend
		want    float64
	}{{native.Backend{}, 0}, {skewed{}, 1}} {
		l.Native = c.backend
		m, err := l.network()
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.allocations(t.Context(), "network", m, l.networkInputs(4))
		if err != nil || a.PerRun != c.want {
			t.Errorf("%T allocates %+v, want %g a run; error %v", c.backend, a, c.want, err)
		}
	}
}

func TestDispatchIsMeasured(t *testing.T) {
	values, details, err := Dispatch(t.Context(), quickLab(t, nil))
	if err != nil || len(values) != 1 {
		t.Fatalf("values %v, error %v", values, err)
	}
	d := details.(dispatchDetails)
	if d.Times["direct"] <= 0 || d.Times["dispatched"] <= 0 || math.Abs(values[0]) > 1000 {
		t.Errorf("the details are %+v", d)
	}
}

func TestForestIsServedWithItsAnswers(t *testing.T) {
	l := quickLab(t, nil)
	if err := l.WriteForest(l.Folder); err != nil {
		t.Fatal(err)
	}
	w, err := l.ForestWorkload()
	if err != nil || len(w.Requests) != servedRequests {
		t.Fatalf("%d requests, error %v", len(w.Requests), err)
	}
	sample, err := w.SampleResponse("1")
	if err != nil || sample.Outputs[0].Name != "y" || len(sample.RawOutputContents[0]) != 4 {
		t.Errorf("the answer is %v, error %v", sample, err)
	}
}

func TestAgree(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		got, want []float64
		tolerance float64
		agrees    bool
	}{
		{[]float64{1, 2}, []float64{1, 2}, 0, true},
		{[]float64{1, 2}, []float64{1, 2.5}, 0.1, false},
		{[]float64{0.05}, []float64{0}, 0.1, true},
		{[]float64{104}, []float64{100}, 0.05, true},
		{[]float64{106}, []float64{100}, 0.05, false},
		{[]float64{1}, []float64{1, 1}, 1, false},
		{[]float64{nan}, []float64{1}, 1, false},
		{[]float64{1}, []float64{nan}, 1, false},
		{[]float64{math.Inf(1)}, []float64{math.Inf(1)}, 0, true},
	} {
		if err := agree(c.got, c.want, c.tolerance); (err == nil) != c.agrees {
			t.Errorf("%v and %v within %g: %v", c.got, c.want, c.tolerance, err)
		}
	}
}

func TestWorstOfCases(t *testing.T) {
	of := func(v float64) turns.Spread { return turns.Spread{Median: v} }
	cases := []Case{{Name: "a", Value: of(3)}, {Name: "b", Value: of(2)}}
	if got := worst(cases, every); got != 2 {
		t.Errorf("the worst is %g, want 2", got)
	}
	if got := worst(cases, func(c *Case) bool { return c.Name == "a" }); got != 3 {
		t.Errorf("the worst of one is %g, want 3", got)
	}
	if got := worst(nil, every); got != 0 {
		t.Errorf("the worst of none is %g, want 0", got)
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 1234567: 1235000, -0.00123456: -0.001235, 9.99999: 10} {
		if got := round(v); math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Errorf("%g is rounded to %g, want %g", v, got, want)
		}
	}
}

func TestInputsThatDoNotFit(t *testing.T) {
	l := quickLab(t, nil)
	b := onnx.NewBuilder("identity")
	b.Input("x", tensor.FP32, onnx.Extent(2))
	b.Node("Neg", []string{"x"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Extent(2))
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := l.write("identity", m)
	if err != nil {
		t.Fatal(err)
	}
	model, err := open(t.Context(), l.Native, dir)
	if err != nil {
		t.Fatal(err)
	}
	long := floats("x", []float32{1, 2, 3}, 2)
	if s, err := model.bind(inputs{long}); err == nil {
		t.Errorf("three values were bound to an input of two: %v", s.shapes)
	}
}
