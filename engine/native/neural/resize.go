// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func resizeOperators() []op.Definition {
	return []op.Definition{{Name: "Resize", Since: 11, Build: buildResize}}
}

// resize scales a picture, along one axis after the other.
type resize struct {
	linear     bool
	coordinate func(x, scale float64, from, to int) float64
	round      func(x float64) float64
	ends       bool    // the first and the last elements stay where they are
	axes       []int64 // nil: all
}

// coordinates give the place in the input of element x of the output. scale is what the
// extent is multiplied by.
var coordinates = map[string]func(x, scale float64, from, to int) float64{
	"asymmetric": func(x, scale float64, _, _ int) float64 { return x / scale },
	"half_pixel": func(x, scale float64, _, _ int) float64 { return (x+0.5)/scale - 0.5 },
	"pytorch_half_pixel": func(x, scale float64, _, to int) float64 {
		if to <= 1 {
			return 0
		}
		return (x+0.5)/scale - 0.5
	},
	"align_corners": func(x, _ float64, from, to int) float64 {
		if to <= 1 {
			return 0
		}
		return x * float64(from-1) / float64(to-1)
	},
	"half_pixel_symmetric": func(x, scale float64, from, to int) float64 {
		center := float64(from) / 2 * (1 - float64(to)/(scale*float64(from)))
		return center + (x+0.5)/scale - 0.5
	},
}

// roundings are the values of nearest_mode.
var roundings = map[string]func(x float64) float64{
	"round_prefer_floor": func(x float64) float64 { return math.Ceil(x - 0.5) },
	"round_prefer_ceil":  func(x float64) float64 { return math.Floor(x + 0.5) },
	"floor":              math.Floor,
	"ceil":               math.Ceil,
}

func buildResize(n *op.Node) (op.Operator, error) {
	if err := n.Arity(1, 4, 1, 1); err != nil {
		return nil, err
	}
	o := &resize{axes: n.Ints("axes")}
	switch mode := n.Text("mode", "nearest"); mode {
	case "nearest":
	case "linear":
		o.linear = true
	default:
		return nil, op.NotCovered("mode %q", mode)
	}
	name := n.Text("coordinate_transformation_mode", "half_pixel")
	if o.coordinate = coordinates[name]; o.coordinate == nil {
		return nil, op.NotCovered("coordinate_transformation_mode %q", name)
	}
	o.ends = name == "align_corners"
	name = n.Text("nearest_mode", "round_prefer_floor")
	if o.round = roundings[name]; o.round == nil {
		return nil, op.Invalid("nearest_mode %q", name)
	}
	if n.Int("antialias", 0) != 0 || n.Int("exclude_outside", 0) != 0 {
		return nil, op.NotCovered("antialias or exclude_outside")
	}
	if policy := n.Text("keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
		return nil, op.NotCovered("keep_aspect_ratio_policy %q", policy)
	}
	return o, n.Err()
}

// stage scales an array of outer x from x inner elements to outer x to x inner.
type stage struct {
	outer, from, to, inner int
	// Element i is made of low[i] and low[i]+1, the latter times weight[i]; without
	// weights of low[i] alone.
	low    []int
	weight []float32
}

// plan finds the output's shape and the axes that change, and the scale of each.
func (o *resize) plan(in []*op.Value) (tensor.Shape, []float64, error) {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return nil, nil, err
	}
	rank := in[0].Rank()
	axes, err := o.axesOf(rank)
	if err != nil {
		return nil, nil, err
	}
	shape, scales := slices.Clone(in[0].Shape), make([]float64, rank)
	for i := range scales {
		scales[i] = 1
	}
	if err := o.scale(in, axes, shape, scales); err != nil {
		return nil, nil, err
	}
	for i, d := range shape {
		if d < 0 || d > elementsMax || (d > 0 && in[0].Shape[i] == 0) {
			return nil, nil, op.Invalid("shape %v from shape %v", shape, in[0].Shape)
		}
	}
	return shape, scales, nil
}

// scale reads scales or sizes of the axes into the output's shape and all scales.
func (o *resize) scale(in []*op.Value, axes []int, shape tensor.Shape, scales []float64) error {
	factors, sizes := optional(in, 2), optional(in, 3)
	if given(sizes) {
		if !sizes.Const || sizes.Type != tensor.Int64 || sizes.Len() != len(axes) {
			return op.NotCovered("sizes that are not %d constants of INT64", len(axes))
		}
		for i, size := range op.As[int64](sizes) {
			shape[axes[i]] = size
			scales[axes[i]] = float64(size) / float64(in[0].Shape[axes[i]])
		}
		return nil
	}
	if !given(factors) {
		return op.Invalid("neither scales nor sizes")
	}
	if !factors.Const || factors.Type != tensor.FP32 || factors.Len() != len(axes) {
		return op.NotCovered("scales that are not %d constants of FP32", len(axes))
	}
	for i, f := range op.Floats(factors) {
		exact := float64(in[0].Shape[axes[i]]) * float64(f)
		extent := math.Floor(exact)
		if !(f > 0) || extent > elementsMax {
			return op.Invalid("scale %g of an axis of %d", f, in[0].Shape[axes[i]])
		}
		if o.ends && exact-extent > 1e-6*extent {
			// Where the last element goes then is not the same everywhere.
			return op.NotCovered("align_corners with %g elements", exact)
		}
		shape[axes[i]], scales[axes[i]] = int64(extent), float64(f)
	}
	return nil
}

// given reports an input that is there and not empty, which also stands for none.
func given(v *op.Value) bool { return v != nil && v.Len() > 0 }

func (o *resize) axesOf(rank int) ([]int, error) {
	var list []int
	if o.axes == nil {
		for i := range rank {
			list = append(list, i)
		}
		return list, nil
	}
	for _, a := range o.axes {
		axis, err := op.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(list, axis) {
			return nil, op.Invalid("axes %v", o.axes)
		}
		list = append(list, axis)
	}
	return list, nil
}

func (o *resize) Infer(in, out []*op.Value) error {
	shape, _, err := o.plan(in)
	if err != nil {
		return err
	}
	if _, _, err := o.stages(in[0].Shape, shape, nil); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, shape...)
}

// stages lists what is done along each axis that changes, and the most elements that
// lie between two. Without scales, the stages are left unfinished.
func (o *resize) stages(from, to tensor.Shape, scales []float64) ([]stage, int, error) {
	var list []stage
	now, most := slices.Clone(from), 0
	for axis := range from {
		if from[axis] == to[axis] && (scales == nil || scales[axis] == 1) {
			continue
		}
		now[axis] = to[axis]
		s := stage{outer: 1, from: int(from[axis]), to: int(to[axis]), inner: 1}
		for i, d := range now {
			if i < axis {
				s.outer *= int(d)
			} else if i > axis {
				s.inner *= int(d)
			}
		}
		n, err := bounded("a scaled picture", s.outer, s.to, s.inner)
		if err != nil {
			return nil, 0, err
		}
		if scales != nil {
			o.weigh(&s, scales[axis])
		}
		list, most = append(list, s), max(most, n)
	}
	return list, most, nil
}

// weigh finds where elements of the output come from.
func (o *resize) weigh(s *stage, scale float64) {
	for i := range s.to {
		x := o.coordinate(float64(i), scale, s.from, s.to)
		if !o.linear {
			s.low = append(s.low, min(max(int(o.round(x)), 0), s.from-1))
			continue
		}
		x = min(max(x, 0), float64(s.from-1))
		low := min(int(x), max(0, s.from-2))
		s.low, s.weight = append(s.low, low), append(s.weight, float32(x-float64(low)))
	}
}

func (o *resize) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	shape, scales, err := o.plan(in)
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	list, most, err := o.stages(in[0].Shape, shape, scales)
	if err != nil {
		return nil, err
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	if len(list) == 0 {
		return func() error { copy(y, x); return nil }, nil
	}
	var between [2]*floats
	for i := range between {
		if len(list) > i+1 {
			between[i] = shared(s, 6+i, most)
		}
	}
	return func() error {
		from := x
		for i := range list {
			to := y
			if i < len(list)-1 {
				to = between[i%2].data
			}
			list[i].run(to, from)
			from = to
		}
		return nil
	}, nil
}

// run scales from x to y.
func (s *stage) run(y, x []float32) {
	for block := range s.outer {
		from, to := x[block*s.from*s.inner:][:s.from*s.inner], y[block*s.to*s.inner:][:s.to*s.inner]
		if s.inner == 1 {
			s.line(to, from)
			continue
		}
		for i, low := range s.low {
			row, first := to[i*s.inner:][:s.inner], from[low*s.inner:][:s.inner]
			if s.weight == nil || s.weight[i] == 0 {
				copy(row, first)
				continue
			}
			w, second := s.weight[i], from[(low+1)*s.inner:][:s.inner]
			for k, v := range first {
				row[k] = (1-w)*v + w*second[k]
			}
		}
	}
}

// line is run for elements that lie side by side.
func (s *stage) line(to, from []float32) {
	to = to[:len(s.low)]
	if s.weight == nil {
		for i, low := range s.low {
			to[i] = from[low]
		}
		return
	}
	for i, low := range s.low {
		w, next := s.weight[i], min(low+1, len(from)-1)
		if to[i] = from[low]; w != 0 { // what has no weight may be infinite
			to[i] = (1-w)*to[i] + w*from[next]
		}
	}
}

// Rowwise implements op.Rowwiser: rows must be left as they are.
func (o *resize) Rowwise(in []*op.Value, carries []bool) bool {
	if !carries[0] || slices.Contains(carries[1:], true) || given(optional(in, 3)) {
		// Sizes name the rows of the whole, which a part does not have.
		return false
	}
	shape, scales, err := o.plan(in)
	return err == nil && len(shape) > 1 && scales[0] == 1
}

// Cost implements op.Coster.
func (o *resize) Cost(in, out []*op.Value) float64 {
	return callNanos + 2*float64(in[0].Len()+2*out[0].Len())
}
