// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// nodeOf is a node with so many inputs and outputs. Constant inputs are those of in that
// are Const; nil ones are left out.
func nodeOf(name string, version int64, in []*op.Value, outputs int, attributes ...onnx.Attribute) *op.Node {
	n := &op.Node{Node: &onnx.Node{OpType: name, Attributes: attributes}, Version: version}
	for _, v := range in {
		if v == nil {
			n.Inputs, n.Const = append(n.Inputs, ""), append(n.Const, nil)
			continue
		}
		n.Inputs = append(n.Inputs, "in")
		if v.Const {
			n.Const = append(n.Const, v)
		} else {
			n.Const = append(n.Const, nil)
		}
	}
	for range outputs {
		n.Outputs = append(n.Outputs, "out")
	}
	return n
}

// build finds the definition of a node and builds its operator.
func build(n *op.Node) (op.Operator, error) {
	for _, d := range Operators() {
		if d.Name == n.OpType && d.Domain == n.Domain && n.Version >= d.Since {
			o, err := d.Build(n)
			if err == nil {
				err = n.Err()
			}
			return o, err
		}
	}
	return nil, errors.New("no such operator")
}

// infer gives the outputs of an operator their shapes and memory.
func infer(o op.Operator, in []*op.Value, outputs int) ([]*op.Value, error) {
	out := make([]*op.Value, outputs)
	for i := range out {
		out[i] = &op.Value{}
	}
	if err := o.Infer(in, out); err != nil {
		return nil, err
	}
	for _, v := range out {
		v.Allocate()
	}
	return out, nil
}

// run builds and runs a node twice, as the second run finds what the first one left, and
// by parts of its rows where it says that it may be split.
func run(t testing.TB, n *op.Node, in []*op.Value) ([]*op.Value, error) {
	t.Helper()
	o, err := build(n)
	if err != nil {
		return nil, err
	}
	out, err := infer(o, in, len(n.Outputs))
	if err != nil {
		return nil, err
	}
	s := &op.Scratch{}
	f, err := o.Bind(in, out, s)
	if err != nil {
		return nil, err
	}
	for range 2 {
		if f == nil {
			break
		}
		for _, v := range out {
			for i := range v.Data {
				v.Data[i] = 0xee
			}
		}
		if err := f(); err != nil {
			return nil, err
		}
	}
	checkParts(t, o, in, out, s)
	return out, nil
}

// checkParts runs each row by itself, in the same instance, and expects the same bits.
func checkParts(t testing.TB, o op.Operator, in, out []*op.Value, s *op.Scratch) {
	t.Helper()
	r, ok := o.(op.Rowwiser)
	carries := make([]bool, len(in))
	for i, v := range in {
		carries[i] = v != nil && !v.Const && v.Rank() > 0 && v.Shape[0] == in[0].Shape[0]
	}
	if !ok || in[0].Const || in[0].Rank() == 0 || !r.Rowwise(in, carries) {
		return
	}
	for row := range int(in[0].Shape[0]) {
		part := make([]*op.Value, len(in))
		for i, v := range in {
			part[i] = v
			if carries[i] {
				part[i] = rowOf(v, row)
			}
		}
		got, err := infer(o, part, len(out))
		if err != nil {
			t.Fatalf("row %d alone: %v", row, err)
		}
		f, err := o.Bind(part, got, s)
		if err == nil && f != nil {
			err = f()
		}
		if err != nil {
			t.Fatalf("row %d alone: %v", row, err)
		}
		for i, v := range got {
			kerneltest.Same(t, "a row alone", v.Data, rowOf(out[i], row).Data)
		}
	}
}

func rowOf(v *op.Value, row int) *op.Value {
	shape := append(tensor.Shape{1}, v.Shape[1:]...)
	size := len(v.Data) / int(v.Shape[0])
	return &op.Value{Type: v.Type, Shape: shape, Data: v.Data[row*size : (row+1)*size]}
}

// mustRun is run where errors fail the test.
func mustRun(t testing.TB, n *op.Node, in []*op.Value) []*op.Value {
	t.Helper()
	out, err := run(t, n, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// random is a value of normal deviates.
func random(r *rand.Rand, constant bool, shape ...int64) *op.Value {
	v := &op.Value{Type: tensor.FP32, Shape: append(tensor.Shape{}, shape...), Const: constant}
	v.Allocate()
	kerneltest.Fill(r, op.Floats(v), 1)
	return v
}

// near fails unless got is want within a bound that grows with the terms of sums.
func near(t testing.TB, got *op.Value, want []float64, bound float64) {
	t.Helper()
	x := op.Floats(got)
	if len(x) != len(want) {
		t.Fatalf("%d elements of shape %v, want %d", len(x), got.Shape, len(want))
	}
	for i, w := range want {
		g := float64(x[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= bound*(1+math.Abs(w))) {
			t.Fatalf("element %d of shape %v is %g, want %g", i, got.Shape, g, w)
		}
	}
}

// levels runs a test at each CPU level.
func levels(t *testing.T, seed uint64, test func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	kerneltest.Levels(t, func(t *testing.T) { test(t, kerneltest.Rand(t, seed)) })
}

func ints(list []int) []int64 {
	wide := make([]int64, len(list))
	for i, v := range list {
		wide[i] = int64(v)
	}
	return wide
}

// wantError fails unless an error wraps the one wanted.
func wantError(t *testing.T, n *op.Node, in []*op.Value, want error) {
	t.Helper()
	if _, err := run(t, n, in); !errors.Is(err, want) {
		t.Fatalf("error is %v, want one that wraps %q", err, want)
	}
}
