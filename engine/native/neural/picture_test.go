// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func constInt64(list ...int64) *op.Value {
	v := &op.Value{Type: tensor.Int64, Shape: tensor.Shape{int64(len(list))}, Const: true}
	v.Allocate()
	copy(op.As[int64](v), list)
	return v
}

func constFloats(list ...float32) *op.Value {
	v := &op.Value{Type: tensor.FP32, Shape: tensor.Shape{int64(len(list))}, Const: true}
	v.Allocate()
	copy(op.Floats(v), list)
	return v
}

// place is where element x of an output comes from, by the standard's table.
func place(mode string, x, from, to int, scale float64) float64 {
	switch mode {
	case "asymmetric":
		return float64(x) / scale
	case "align_corners":
		if to == 1 {
			return 0
		}
		return float64(x) * float64(from-1) / float64(to-1)
	case "pytorch_half_pixel":
		if to <= 1 {
			return 0
		}
	}
	return (float64(x)+0.5)/scale - 0.5
}

// resizeSlowly scales the last two of four dimensions.
func resizeSlowly(x []float32, from, to []int, scale []float64, linear bool, mode, nearest string) []float64 {
	var y []float64
	each(to, func(at []int) {
		sum := 0.0
		each([]int{2, 2}, func(corner []int) {
			source, weight := append([]int{}, at...), 1.0
			for i := range 2 {
				p := place(mode, at[2+i], from[2+i], to[2+i], scale[i])
				if !linear {
					if corner[i] > 0 {
						weight = 0
					}
					switch nearest {
					case "floor":
						p = math.Floor(p)
					case "ceil":
						p = math.Ceil(p)
					case "round_prefer_ceil":
						p = math.Floor(p + 0.5)
					default:
						p = math.Ceil(p - 0.5)
					}
					source[2+i] = min(max(int(p), 0), from[2+i]-1)
					continue
				}
				p = min(max(p, 0), float64(from[2+i]-1))
				low := math.Floor(p)
				if corner[i] == 0 {
					weight *= 1 - (p - low)
				} else {
					weight *= p - low
				}
				source[2+i] = min(int(low)+corner[i], from[2+i]-1)
			}
			if weight != 0 {
				sum += weight * float64(x[flat(from, source)])
			}
		})
		y = append(y, sum)
	})
	return y
}

func TestResize(t *testing.T) {
	levels(t, 41, func(t *testing.T, r *rand.Rand) {
		for range 200 {
			from := []int{r.IntN(3), 1 + r.IntN(3), 1 + r.IntN(7), 1 + r.IntN(7)}
			mode := []string{"asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"}[r.IntN(4)]
			nearest := []string{"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}[r.IntN(4)]
			x := random(r, false, ints(from)...)
			to, scale := append([]int{}, from...), make([]float64, 2)
			in := []*op.Value{x, nil, nil, nil}
			if r.IntN(2) == 0 && from[0] > 0 {
				for i := range 2 {
					to[2+i] = 1 + r.IntN(12)
					scale[i] = float64(to[2+i]) / float64(from[2+i])
				}
				in[3] = constInt64(ints(to)...)
			} else {
				for i := range 2 {
					scale[i] = float64(1 + r.IntN(3))
					to[2+i] = from[2+i] * int(scale[i])
				}
				in[2] = constFloats(1, 1, float32(scale[0]), float32(scale[1]))
			}
			kind, linear := "nearest", r.IntN(2) == 0
			if linear {
				kind = "linear"
			}
			n := nodeOf("Resize", 13, in, 1, onnx.StringAttribute("mode", kind),
				onnx.StringAttribute("coordinate_transformation_mode", mode), onnx.StringAttribute("nearest_mode", nearest))
			near(t, mustRun(t, n, in)[0], resizeSlowly(op.Floats(x), from, to, scale, linear, mode, nearest), 1e-5)
		}
	})
}

func TestResizeErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, twice := random(r, false, 1, 1, 3, 3), constFloats(1, 1, 2, 2)
	for i, c := range []struct {
		in   []*op.Value
		want error
		with []onnx.Attribute
	}{
		{[]*op.Value{x, nil, twice}, op.ErrNotCovered, []onnx.Attribute{onnx.StringAttribute("mode", "cubic")}},
		{[]*op.Value{x, nil, twice}, op.ErrNotCovered, []onnx.Attribute{onnx.StringAttribute("coordinate_transformation_mode", "tf_crop_and_resize")}},
		{[]*op.Value{x, nil, twice}, op.ErrInvalid, []onnx.Attribute{onnx.StringAttribute("nearest_mode", "far")}},
		{[]*op.Value{x, nil, twice}, op.ErrNotCovered, []onnx.Attribute{onnx.IntAttribute("antialias", 1)}},
		{[]*op.Value{x, nil, constFloats(1, 1, 2)}, op.ErrNotCovered, nil},
		{[]*op.Value{x, nil, random(r, false, 4)}, op.ErrNotCovered, nil},
		{[]*op.Value{x, nil, constFloats(1, 1, -2, 2)}, op.ErrInvalid, nil},
		{[]*op.Value{x, nil, constFloats(1, 1, float32(math.NaN()), 2)}, op.ErrInvalid, nil},
		{[]*op.Value{x, nil, constFloats(1, 1, 1e7, 1e7)}, op.ErrNotCovered, nil},
		{[]*op.Value{x, nil, nil, constInt64(1, 1, -3, 3)}, op.ErrInvalid, nil},
		{[]*op.Value{x}, op.ErrInvalid, nil},
		{[]*op.Value{x, nil, twice}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("axes", 0, 1, 2, 7)}},
		{[]*op.Value{x, nil, twice}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("axes", 0, 1, 2, -2)}},
	} {
		t.Logf("case %d", i)
		wantError(t, nodeOf("Resize", 18, c.in, 1, c.with...), c.in, c.want)
	}
	in := []*op.Value{x, nil, constFloats(2, 2)}
	out := mustRun(t, nodeOf("Resize", 18, in, 1, onnx.IntsAttribute("axes", -1, 2)), in)
	if out[0].Shape.String() != "[1,1,6,6]" {
		t.Errorf("shape %v by axes", out[0].Shape)
	}
}

func TestGroupNorm(t *testing.T) {
	levels(t, 42, func(t *testing.T, r *rand.Rand) {
		for range 60 {
			groups, per, plane, rows := 1+r.IntN(4), 1+r.IntN(4), 1+r.IntN(30), r.IntN(4)
			channels, version := groups*per, int64(21)
			x := random(r, false, int64(rows), int64(channels), int64(plane))
			parameters := channels
			if r.IntN(2) == 0 {
				version, parameters = 18, groups
			}
			in := []*op.Value{x, random(r, true, int64(parameters)), random(r, true, int64(parameters))}
			var want []float64
			for g := range rows * groups {
				part := op.Floats(x)[g*per*plane:][:per*plane]
				mean, variance := 0.0, 0.0
				for _, v := range part {
					mean += float64(v) / float64(len(part))
				}
				for _, v := range part {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(part))
				}
				for i, v := range part {
					c := g%groups*per + i/plane
					if version == 18 {
						c = g % groups
					}
					want = append(want, (float64(v)-mean)/math.Sqrt(variance+1e-3)*float64(op.Floats(in[1])[c])+float64(op.Floats(in[2])[c]))
				}
			}
			n := nodeOf("GroupNormalization", version, in, 1, onnx.IntAttribute("num_groups", int64(groups)), onnx.FloatAttribute("epsilon", 1e-3))
			near(t, mustRun(t, n, in)[0], want, 1e-4)
		}
	})
	r := rand.New(rand.NewPCG(1, 1))
	in := []*op.Value{random(r, false, 1, 4, 2), random(r, true, 4), random(r, true, 4)}
	wantError(t, nodeOf("GroupNormalization", 21, in, 1, onnx.IntAttribute("num_groups", 3)), in, op.ErrInvalid)
	wantError(t, nodeOf("GroupNormalization", 21, in, 1), in, op.ErrInvalid)
	wantError(t, nodeOf("GroupNormalization", 18, in, 1, onnx.IntAttribute("num_groups", 2)), in, op.ErrInvalid)
}

func TestLRN(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 0))
	for size := 1; size < 6; size++ {
		const rows, channels, plane = 2, 5, 7
		in := []*op.Value{random(r, false, rows, channels, plane)}
		x := op.Floats(in[0])
		var want []float64
		each([]int{rows, channels, plane}, func(at []int) {
			sum := 0.0
			for c := range channels {
				if c >= at[1]-(size-1)/2 && c <= at[1]+size/2 {
					v := float64(x[(at[0]*channels+c)*plane+at[2]])
					sum += v * v
				}
			}
			v := float64(x[(at[0]*channels+at[1])*plane+at[2]])
			want = append(want, v/math.Pow(2+0.5/float64(size)*sum, 0.75))
		})
		n := nodeOf("LRN", 13, in, 1, onnx.IntAttribute("size", int64(size)), onnx.FloatAttribute("alpha", 0.5), onnx.FloatAttribute("bias", 2))
		near(t, mustRun(t, n, in)[0], want, 1e-6)
	}
	in := []*op.Value{random(r, false, 1, 2, 3)}
	wantError(t, nodeOf("LRN", 13, in, 1), in, op.ErrInvalid)
}

// TestAllocations runs one of each kind of operator: a run must not allocate.
func TestAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(44, 0))
	x := random(r, false, 20, 4, 9, 9)
	kernel := onnx.IntsAttribute("kernel_shape", 3, 3)
	pads := onnx.IntsAttribute("pads", 1, 1, 1, 1)
	sequence := random(r, false, 3, 2, 4)
	q := random(r, false, 2, 3, 4, 5)
	for _, c := range []struct {
		name string
		in   []*op.Value
		with []onnx.Attribute
	}{
		{"Conv", []*op.Value{x, random(r, true, 9, 4, 3, 3), random(r, true, 9)}, []onnx.Attribute{pads}},
		{"Conv", []*op.Value{x, random(r, false, 9, 4, 1, 1)}, nil},
		{"Conv", []*op.Value{x, random(r, true, 4, 1, 3, 3)}, []onnx.Attribute{pads, onnx.IntAttribute("group", 4)}},
		{"ConvTranspose", []*op.Value{x, random(r, false, 4, 3, 2, 2)}, []onnx.Attribute{onnx.IntsAttribute("strides", 2, 2)}},
		{"MaxPool", []*op.Value{x}, []onnx.Attribute{kernel, pads}},
		{"AveragePool", []*op.Value{x}, []onnx.Attribute{kernel, pads}},
		{"LpPool", []*op.Value{x}, []onnx.Attribute{kernel}},
		{"GlobalAveragePool", []*op.Value{x}, nil},
		{"RNN", []*op.Value{sequence, random(r, true, 1, 5, 4), random(r, true, 1, 5, 5)}, nil},
		{"GRU", []*op.Value{sequence, random(r, true, 1, 15, 4), random(r, true, 1, 15, 5)}, nil},
		{"LSTM", []*op.Value{sequence, random(r, true, 1, 20, 4), random(r, true, 1, 20, 5)}, nil},
		{"Attention", []*op.Value{q, q, q, random(r, false, 4, 4)}, nil},
		{"Einsum", []*op.Value{q, q}, []onnx.Attribute{onnx.StringAttribute("equation", "abcd,abed->bcea")}},
		{"Einsum", []*op.Value{q}, []onnx.Attribute{onnx.StringAttribute("equation", "abcd->dc")}},
		{"Resize", []*op.Value{x, nil, constFloats(1, 1, 2, 2)}, []onnx.Attribute{onnx.StringAttribute("mode", "linear")}},
		{"GroupNormalization", []*op.Value{x, random(r, true, 4), random(r, true, 4)}, []onnx.Attribute{onnx.IntAttribute("num_groups", 2)}},
		{"LRN", []*op.Value{x}, []onnx.Attribute{onnx.IntAttribute("size", 3)}},
	} {
		o, err := build(nodeOf(c.name, 23, c.in, 1, c.with...))
		if err != nil {
			t.Fatal(c.name, err)
		}
		out, err := infer(o, c.in, 1)
		if err != nil {
			t.Fatal(c.name, err)
		}
		f, err := o.Bind(c.in, out, &op.Scratch{})
		if err != nil {
			t.Fatal(c.name, err)
		}
		if n := testing.AllocsPerRun(5, func() { _ = f() }); n != 0 {
			t.Errorf("%s: %g allocations in a run", c.name, n)
		}
		if coster, ok := o.(op.Coster); ok && !(coster.Cost(c.in, out) > 0) {
			t.Errorf("%s: cost %g", c.name, coster.Cost(c.in, out))
		}
		if d, ok := o.(op.Describer); ok && d.Describe(c.in, out) == "" {
			t.Errorf("%s: not described", c.name)
		}
	}
}
