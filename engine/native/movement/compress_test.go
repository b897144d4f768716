// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// compressOf binds the operator to an input and a condition.
func compressOf(in, condition *op.Value, attributes ...onnx.Attribute) (op.Run, *op.Value, error) {
	o, err := buildCompress(&op.Node{Node: &onnx.Node{
		OpType: "Compress", Inputs: []string{"x", "c"}, Outputs: []string{"y"}, Attributes: attributes,
	}})
	if err != nil {
		return nil, nil, err
	}
	out := &op.Value{}
	if err := o.Infer([]*op.Value{in, condition}, []*op.Value{out}); err != nil {
		return nil, nil, err
	}
	out.Allocate()
	run, err := o.Bind([]*op.Value{in, condition}, []*op.Value{out}, nil)
	return run, out, err
}

func conditionOf(holds ...bool) *op.Value {
	v := &op.Value{Type: tensor.Bool, Shape: tensor.Shape{int64(len(holds))}, Const: true}
	v.Allocate()
	copy(op.As[bool](v), holds)
	return v
}

func TestCompress(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		shape := tensor.Shape{r.Int64N(4), 1 + r.Int64N(4), 1 + r.Int64N(3)}
		in := &op.Value{Type: tensor.Int64, Shape: shape}
		in.Allocate()
		for i := range op.As[int64](in) {
			op.As[int64](in)[i] = int64(i)
		}
		axis := r.IntN(4) // 3 is none
		extent := int64(in.Len())
		var attributes []onnx.Attribute
		if axis < 3 {
			extent = shape[axis]
			attributes = append(attributes, onnx.IntAttribute("axis", int64(axis-3*r.IntN(2))))
		}
		holds := make([]bool, r.Int64N(extent+1))
		for i := range holds {
			holds[i] = r.IntN(2) == 0
		}
		var want []int64
		for i := range in.Len() {
			at := i
			if axis < 3 {
				at = i / product(shape[axis+1:]) % int(shape[axis])
			}
			if at < len(holds) && holds[at] {
				want = append(want, int64(i))
			}
		}
		run, out, err := compressOf(in, conditionOf(holds...), attributes...)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(); err != nil {
			t.Fatal(err)
		}
		if got := op.As[int64](out); !slices.Equal(got, want) {
			t.Fatalf("%v along %d of %v: %v, want %v", holds, axis, shape, got, want)
		}
	}
}

func TestCompressOfTexts(t *testing.T) {
	in := &op.Value{Type: tensor.Bytes, Shape: tensor.Shape{3}, Strings: [][]byte{[]byte("a"), []byte("b"), []byte("c")}}
	run, out, err := compressOf(in, conditionOf(true, false, true), onnx.IntAttribute("axis", 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if got := string(slices.Concat(out.Strings...)); got != "ac" {
		t.Errorf("%q", got)
	}
}

func TestCompressIsRefused(t *testing.T) {
	in := &op.Value{Type: tensor.FP32, Shape: tensor.Shape{2, 3}}
	unknown := conditionOf(true)
	unknown.Const = false
	for _, c := range []struct {
		want      string
		condition *op.Value
		axis      int64
		class     error
	}{
		{"place 2 of 2", conditionOf(false, true, true), 0, op.ErrInvalid},
		{"axis 2", conditionOf(true), 2, op.ErrInvalid},
		{"condition that is FP32", &op.Value{Type: tensor.FP32, Shape: tensor.Shape{1}, Const: true}, 0, op.ErrInvalid},
		{"not known before the run", unknown, 0, op.ErrNotCovered},
	} {
		_, _, err := compressOf(in, c.condition, onnx.IntAttribute("axis", c.axis))
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.want, err)
		}
	}
}
