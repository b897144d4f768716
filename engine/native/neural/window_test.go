// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// sliding is a random window over a random input of 1 to 3 dimensions.
type sliding struct {
	rows, channels                 int
	in, kernel, strides, dilations []int
	before, after                  []int
	auto                           string
	ceil                           bool
	out                            []int // as the standard has it
}

func randomSliding(r *rand.Rand) *sliding {
	s := &sliding{rows: r.IntN(5), channels: 1 + r.IntN(4)}
	s.auto = []string{"NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}[r.IntN(6)]
	s.ceil = r.IntN(3) == 0
	rank := 1 + r.IntN(3)
	for range rank {
		most := []int{70, 20, 7}[rank-1]
		s.in = append(s.in, 1+r.IntN(most))
		s.kernel = append(s.kernel, 1+r.IntN(4))
		s.strides = append(s.strides, 1+r.IntN(3))
		s.dilations = append(s.dilations, 1+r.IntN(2)*r.IntN(2))
		s.before, s.after = append(s.before, r.IntN(3)), append(s.after, r.IntN(3))
	}
	if r.IntN(4) == 0 {
		for i := range rank {
			s.kernel[i], s.strides[i], s.before[i], s.after[i] = 1, 1, 0, 0
		}
	}
	return s
}

func (s *sliding) reach(i int) int { return (s.kernel[i]-1)*s.dilations[i] + 1 }

// slide finds the output and the padding by the standard's formulas, and reports
// whether there is one.
func (s *sliding) slide() bool {
	s.out = make([]int, len(s.in))
	for i, d := range s.in {
		switch s.auto {
		case "SAME_UPPER", "SAME_LOWER":
			s.out[i] = int(math.Ceil(float64(d) / float64(s.strides[i])))
			total := max(0, (s.out[i]-1)*s.strides[i]+s.reach(i)-d)
			s.before[i] = total / 2
			if s.auto == "SAME_LOWER" {
				s.before[i] = total - total/2
			}
			s.after[i] = total - s.before[i]
			continue
		case "VALID":
			s.before[i], s.after[i] = 0, 0
		}
		room := float64(d + s.before[i] + s.after[i] - s.reach(i))
		if room < 0 {
			return false
		}
		s.out[i] = int(math.Floor(room/float64(s.strides[i]))) + 1
		if s.ceil {
			s.out[i] = int(math.Ceil(room/float64(s.strides[i]))) + 1
			if (s.out[i]-1)*s.strides[i] >= d+s.before[i] {
				s.out[i]--
			}
		}
	}
	return true
}

func (s *sliding) attributes() []onnx.Attribute {
	list := []onnx.Attribute{
		onnx.IntsAttribute("kernel_shape", ints(s.kernel)...),
		onnx.IntsAttribute("strides", ints(s.strides)...),
		onnx.IntsAttribute("dilations", ints(s.dilations)...),
		onnx.StringAttribute("auto_pad", s.auto),
	}
	if s.auto == "NOTSET" {
		list = append(list, onnx.IntsAttribute("pads", ints(append(append([]int{}, s.before...), s.after...))...))
	}
	if s.ceil {
		list = append(list, onnx.IntAttribute("ceil_mode", 1))
	}
	return list
}

func (s *sliding) shape(rows, channels int, dims []int) []int64 {
	return append([]int64{int64(rows), int64(channels)}, ints(dims)...)
}

// each visits all combinations of indices below the extents.
func each(extents []int, visit func(at []int)) {
	at := make([]int, len(extents))
	for {
		for i, d := range extents {
			if at[i] >= d {
				return // an extent of 0
			}
		}
		visit(at)
		i := len(at) - 1
		for ; i >= 0; i-- {
			if at[i]++; at[i] < extents[i] {
				break
			}
			at[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// flat is where indices are in an array of the extents, -1 outside it.
func flat(extents, at []int) int {
	n := 0
	for i, d := range extents {
		if at[i] < 0 || at[i] >= d {
			return -1
		}
		n = n*d + at[i]
	}
	return n
}

// source is the place in the input of a window's element.
func (s *sliding) source(out, k []int) []int {
	at := make([]int, len(out))
	for i := range at {
		at[i] = out[i]*s.strides[i] + k[i]*s.dilations[i] - s.before[i]
	}
	return at
}

func convolveSlowly(s *sliding, x, w, bias []float32, channelsOut, groups int) []float64 {
	var y []float64
	perGroup, taps, size := s.channels/groups, volume(s.kernel), volume(s.in)
	for row := range s.rows {
		for m := range channelsOut {
			each(s.out, func(at []int) {
				sum := 0.0
				if bias != nil {
					sum = float64(bias[m])
				}
				for c := range perGroup {
					from := x[(row*s.channels+m/(channelsOut/groups)*perGroup+c)*size:]
					each(s.kernel, func(k []int) {
						if i := flat(s.in, s.source(at, k)); i >= 0 {
							sum += float64(from[i]) * float64(w[(m*perGroup+c)*taps+flat(s.kernel, k)])
						}
					})
				}
				y = append(y, sum)
			})
		}
	}
	return y
}

func TestConv(t *testing.T) {
	levels(t, 1, func(t *testing.T, r *rand.Rand) {
		for range 150 {
			s := randomSliding(r)
			s.ceil = false
			groups := 1 + r.IntN(3)
			out := groups * (1 + r.IntN(9))
			if r.IntN(3) == 0 { // depthwise
				groups = 1 + r.IntN(20)
				out = groups
				s.channels = 1
			}
			s.channels *= groups
			constant := r.IntN(4) > 0
			in := []*op.Value{
				random(r, false, s.shape(s.rows, s.channels, s.in)...),
				random(r, constant, s.shape(out, s.channels/groups, s.kernel)...),
			}
			var bias []float32
			if r.IntN(3) > 0 {
				in = append(in, random(r, constant, int64(out)))
				bias = op.Floats(in[2])
			}
			n := nodeOf("Conv", 11, in, 1, append(s.attributes(), onnx.IntAttribute("group", int64(groups)))...)
			if !s.slide() {
				wantError(t, n, in, op.ErrInvalid)
				continue
			}
			got := mustRun(t, n, in)[0]
			if want := tensor.Shape(s.shape(s.rows, out, s.out)); got.Shape.String() != want.String() {
				t.Fatalf("%+v: shape %v, want %v", *s, got.Shape, want)
			}
			near(t, got, convolveSlowly(s, op.Floats(in[0]), op.Floats(in[1]), bias, out, groups), 1e-5)
		}
	})
}

// TestConvLarge has shapes that take several strips, and pictures that are joined.
func TestConvLarge(t *testing.T) {
	levels(t, 2, func(t *testing.T, r *rand.Rand) {
		for _, s := range []*sliding{
			{rows: 1, channels: 3, in: []int{40, 61}, kernel: []int{3, 3}, strides: []int{1, 1}, dilations: []int{1, 1}, before: []int{1, 1}, after: []int{1, 1}},
			{rows: 2, channels: 2, in: []int{37, 75}, kernel: []int{3, 1}, strides: []int{1, 1}, dilations: []int{1, 1}, before: []int{1, 0}, after: []int{0, 0}},
			{rows: 1, channels: 2, in: []int{1200}, kernel: []int{5}, strides: []int{1}, dilations: []int{2}, before: []int{0}, after: []int{0}},
			{rows: 45, channels: 3, in: []int{50}, kernel: []int{3}, strides: []int{1}, dilations: []int{1}, before: []int{1}, after: []int{1}},
			{rows: 25, channels: 3, in: []int{7, 7}, kernel: []int{1, 1}, strides: []int{1, 1}, dilations: []int{1, 1}, before: []int{0, 0}, after: []int{0, 0}},
			{rows: 1, channels: 4, in: []int{33, 34}, kernel: []int{1, 1}, strides: []int{1, 1}, dilations: []int{1, 1}, before: []int{0, 0}, after: []int{0, 0}},
			{rows: 1, channels: 2, in: []int{6, 20, 30}, kernel: []int{3, 3, 3}, strides: []int{1, 2, 2}, dilations: []int{1, 1, 1}, before: []int{1, 1, 1}, after: []int{1, 1, 1}},
		} {
			s.auto = "NOTSET"
			s.slide()
			in := []*op.Value{random(r, false, s.shape(s.rows, s.channels, s.in)...), random(r, true, s.shape(11, s.channels, s.kernel)...)}
			got := mustRun(t, nodeOf("Conv", 11, in, 1, s.attributes()...), in)[0]
			near(t, got, convolveSlowly(s, op.Floats(in[0]), op.Floats(in[1]), nil, 11, 1), 1e-5)
		}
	})
}

// TestConvActivations applies each activation of a fused convolution to the sums of a
// plain one.
func TestConvActivations(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	formulas := map[rewrite.Activation]func(x float64) float64{
		rewrite.ActivationRelu: func(x float64) float64 { return max(x, 0) },
		rewrite.ActivationClip: func(x float64) float64 { return min(max(x, 0.25), 0.75) },
		rewrite.ActivationLeakyRelu: func(x float64) float64 {
			if x < 0 {
				return 0.25 * x
			}
			return x
		},
		rewrite.ActivationElu: func(x float64) float64 {
			if x < 0 {
				return 0.25 * math.Expm1(x)
			}
			return x
		},
		rewrite.ActivationHardSigmoid: func(x float64) float64 { return min(max(0.25*x+0.75, 0), 1) },
		rewrite.ActivationSigmoid:     sigmoid,
		rewrite.ActivationTanh:        math.Tanh,
		rewrite.ActivationGelu:        func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
		rewrite.ActivationGeluTanh: func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
		rewrite.ActivationHardSwish: func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) },
		rewrite.ActivationSoftplus:  func(x float64) float64 { return math.Log1p(math.Exp(x)) },
		rewrite.ActivationMish:      func(x float64) float64 { return x * math.Tanh(math.Log1p(math.Exp(x))) },
	}
	levels(t, 3, func(t *testing.T, r *rand.Rand) {
		for _, depthwise := range []bool{false, true} {
			in := []*op.Value{random(r, false, 2, 4, 6, 7), random(r, true, 4, 4, 3, 3), random(r, true, 4)}
			groups := onnx.IntAttribute("group", 1)
			if depthwise {
				in[1], groups = random(r, true, 4, 1, 3, 3), onnx.IntAttribute("group", 4)
			}
			plain := mustRun(t, nodeOf("Conv", 11, in, 1, groups), in)[0]
			for name, f := range formulas {
				n := nodeOf("Conv", 1, in, 1, groups, onnx.StringAttribute(rewrite.AttrActivation, string(name)),
					onnx.FloatAttribute(rewrite.AttrAlpha, 0.25), onnx.FloatAttribute(rewrite.AttrBeta, 0.75))
				n.Domain = rewrite.Domain
				var want []float64
				for _, x := range op.Floats(plain) {
					want = append(want, f(float64(x)))
				}
				near(t, mustRun(t, n, in)[0], want, 1e-5)
			}
		}
	})
}

func transposeSlowly(s *sliding, x, w []float32, perGroup, groups int) []float64 {
	out := perGroup * groups
	y := make([]float64, s.rows*out*volume(s.out))
	taps := volume(s.kernel)
	for row := range s.rows {
		for c := range s.channels {
			for m := range perGroup {
				channel := c/(s.channels/groups)*perGroup + m
				each(s.in, func(at []int) {
					each(s.kernel, func(k []int) {
						to := make([]int, len(at))
						for i := range to {
							to[i] = at[i]*s.strides[i] + k[i]*s.dilations[i] - s.before[i]
						}
						if i := flat(s.out, to); i >= 0 {
							v := x[(row*s.channels+c)*volume(s.in)+flat(s.in, at)]
							y[(row*out+channel)*volume(s.out)+i] += float64(v) * float64(w[(c*perGroup+m)*taps+flat(s.kernel, k)])
						}
					})
				})
			}
		}
	}
	return y
}

func TestConvTranspose(t *testing.T) {
	levels(t, 4, func(t *testing.T, r *rand.Rand) {
		for range 100 {
			s := randomSliding(r)
			s.auto, s.ceil = "NOTSET", false
			groups, perGroup := 1+r.IntN(2), 1+r.IntN(5)
			s.channels *= groups
			var extra []int
			fits := true
			for i, d := range s.in {
				extra = append(extra, r.IntN(s.strides[i]))
				s.out = append(s.out, (d-1)*s.strides[i]+extra[i]+s.reach(i)-s.before[i]-s.after[i])
				fits = fits && s.out[i] > 0
			}
			constant := r.IntN(3) > 0
			in := []*op.Value{
				random(r, false, s.shape(s.rows, s.channels, s.in)...),
				random(r, constant, s.shape(s.channels, perGroup, s.kernel)...),
			}
			n := nodeOf("ConvTranspose", 11, in, 1, append(s.attributes(),
				onnx.IntAttribute("group", int64(groups)), onnx.IntsAttribute("output_padding", ints(extra)...))...)
			if !fits {
				wantError(t, n, in, op.ErrInvalid)
				continue
			}
			near(t, mustRun(t, n, in)[0], transposeSlowly(s, op.Floats(in[0]), op.Floats(in[1]), perGroup, groups), 1e-5)
		}
	})
}

func poolSlowly(s *sliding, kind string, x []float32, countPadding bool, p float64) []float64 {
	var y []float64
	for plane := range s.rows * s.channels {
		from := x[plane*volume(s.in):]
		each(s.out, func(at []int) {
			largest, sum, powers, n := math.Inf(-1), 0.0, 0.0, 0
			each(s.kernel, func(k []int) {
				place := s.source(at, k)
				i := flat(s.in, place)
				padded := true
				for axis, v := range place {
					padded = padded && v < s.in[axis]+s.after[axis]
				}
				if i >= 0 {
					v := float64(from[i])
					largest, sum, powers = max(largest, v), sum+v, powers+math.Pow(math.Abs(v), p)
				}
				if i >= 0 || countPadding && padded {
					n++
				}
			})
			switch kind {
			case "MaxPool":
				y = append(y, largest)
			case "AveragePool":
				y = append(y, sum/float64(max(1, n)))
			default:
				y = append(y, math.Pow(powers, 1/p))
			}
		})
	}
	return y
}

func TestPools(t *testing.T) {
	levels(t, 5, func(t *testing.T, r *rand.Rand) {
		for range 200 {
			s := randomSliding(r)
			kind := []string{"MaxPool", "AveragePool", "LpPool"}[r.IntN(3)]
			count, p := r.IntN(2), 1+r.IntN(3)
			attributes := s.attributes()
			if kind == "AveragePool" {
				attributes = append(attributes, onnx.IntAttribute("count_include_pad", int64(count)))
			}
			if kind == "LpPool" {
				attributes = append(attributes, onnx.IntAttribute("p", int64(p)))
			}
			in := []*op.Value{random(r, false, s.shape(s.rows, s.channels, s.in)...)}
			n := nodeOf(kind, 22, in, 1, attributes...)
			if !s.slide() {
				wantError(t, n, in, op.ErrInvalid)
				continue
			}
			got := mustRun(t, n, in)[0]
			if want := tensor.Shape(s.shape(s.rows, s.channels, s.out)); got.Shape.String() != want.String() {
				t.Fatalf("%+v: shape %v, want %v", *s, got.Shape, want)
			}
			near(t, got, poolSlowly(s, kind, op.Floats(in[0]), count == 1, float64(p)), 1e-5)
		}
	})
}

func TestGlobalPools(t *testing.T) {
	levels(t, 6, func(t *testing.T, r *rand.Rand) {
		for _, shape := range [][]int64{{2, 3, 5}, {1, 2, 4, 4}, {0, 2, 3, 3}, {2, 2, 3, 4, 5}, {3, 4}} {
			in := []*op.Value{random(r, false, shape...)}
			var mean, largest []float64
			planes := int(shape[0] * shape[1])
			for p := range planes {
				size := in[0].Len() / planes
				sum, most := 0.0, math.Inf(-1)
				for _, v := range op.Floats(in[0])[p*size:][:size] {
					sum, most = sum+float64(v), max(most, float64(v))
				}
				mean, largest = append(mean, sum/float64(size)), append(largest, most)
			}
			near(t, mustRun(t, nodeOf("GlobalAveragePool", 1, in, 1), in)[0], mean, 1e-5)
			near(t, mustRun(t, nodeOf("GlobalMaxPool", 1, in, 1), in)[0], largest, 0)
		}
	})
}

func TestWindowErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, w := random(r, false, 1, 2, 8, 8), random(r, true, 3, 2, 3, 3)
	kernel := onnx.IntsAttribute("kernel_shape", 3, 3)
	for i, c := range []struct {
		name string
		in   []*op.Value
		want error
		with []onnx.Attribute
	}{
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("kernel_shape", 5, 5)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("strides", 0, 1)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("pads", -1, 0, 0, 0)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("pads", 1, 1)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("dilations", 4, 4)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntAttribute("group", 2)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntAttribute("group", 0)}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.StringAttribute("auto_pad", "SOME")}},
		{"Conv", []*op.Value{x, w}, op.ErrInvalid, []onnx.Attribute{onnx.IntAttribute("strides", 2)}},
		{"Conv", []*op.Value{x, w, random(r, true, 4)}, op.ErrInvalid, nil},
		{"Conv", []*op.Value{random(r, false, 1, 2, 2, 2), w}, op.ErrInvalid, nil},
		{"Conv", []*op.Value{random(r, false, 1, 2), w}, op.ErrInvalid, nil},
		{"Conv", []*op.Value{x, w}, op.ErrNotCovered, []onnx.Attribute{onnx.IntsAttribute("pads", 1<<20, 1<<20, 1<<20, 1<<20)}},
		{"Conv", []*op.Value{{Type: tensor.FP64, Shape: x.Shape, Data: make([]byte, 1024)}, w}, op.ErrNotCovered, nil},
		{"ConvTranspose", []*op.Value{x, w}, op.ErrInvalid, nil},
		{"ConvTranspose", []*op.Value{x, random(r, true, 2, 1, 3, 3)}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("output_padding", 1)}},
		{"ConvTranspose", []*op.Value{x, random(r, true, 2, 1, 3, 3)}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("pads", 9, 9, 9, 9)}},
		{"ConvTranspose", []*op.Value{x, random(r, true, 2, 1, 3, 3)}, op.ErrNotCovered, []onnx.Attribute{onnx.IntsAttribute("output_shape", 9, 9)}},
		{"MaxPool", []*op.Value{x}, op.ErrInvalid, nil},
		{"MaxPool", []*op.Value{x}, op.ErrInvalid, []onnx.Attribute{onnx.IntsAttribute("kernel_shape", 3)}},
		{"MaxPool", []*op.Value{x}, op.ErrNotCovered, []onnx.Attribute{onnx.IntsAttribute("kernel_shape", 1<<12, 1<<12)}},
		{"MaxPool", []*op.Value{x}, op.ErrNotCovered, []onnx.Attribute{kernel, onnx.IntsAttribute("pads", 1<<20, 1<<20, 1<<20, 1<<20)}},
		{"LpPool", []*op.Value{x}, op.ErrInvalid, []onnx.Attribute{kernel, onnx.IntAttribute("p", 0)}},
	} {
		t.Run(fmt.Sprint(i, c.name), func(t *testing.T) { wantError(t, nodeOf(c.name, 11, c.in, 1, c.with...), c.in, c.want) })
	}
	wantError(t, nodeOf("MaxPool", 11, []*op.Value{x}, 2, kernel), []*op.Value{x}, op.ErrNotCovered)
}

// FuzzWindows draws windows from the fuzzer's bytes, sensible or not: none may panic,
// and what runs must be right.
func FuzzWindows(f *testing.F) {
	f.Add(uint8(0), []byte{1, 2, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add(uint8(1), []byte{2, 1, 5, 9, 2, 4, 2, 3, 1, 2, 0, 3, 1, 0})
	f.Add(uint8(2), []byte{1, 3, 7, 1, 3, 3, 2, 2, 1, 1, 1, 0, 2, 0})
	f.Add(uint8(3), []byte{1, 2, 3, 3, 2, 2, 3, 3, 1, 1, 0, 0, 0, 0})
	f.Add(uint8(1), []byte("10001111111100")) // no input, but padding
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		if len(data) < 14 {
			return
		}
		at := func(i int) int { return int(int8(data[i])) % 24 }
		s := &sliding{
			rows: max(0, at(0)) % 4, channels: 1 + max(0, at(1))%4, in: []int{max(0, at(2)), max(0, at(3))},
			kernel: []int{at(4), at(5)}, strides: []int{at(6), at(7)}, dilations: []int{at(8), at(9)},
			before: []int{at(10), at(11)}, after: []int{at(12), at(13)}, auto: "NOTSET", ceil: kind&16 != 0,
		}
		// What it is compared with takes seconds for large windows of all channels.
		products := s.rows * s.channels * s.channels
		for i, k := range s.kernel {
			products *= max(1, k) * (s.in[i] + max(0, s.before[i]) + max(0, s.after[i]))
		}
		if products > 1<<21 {
			s.rows, s.channels = 1, 1
		}
		r := rand.New(rand.NewPCG(1, 1))
		in := []*op.Value{random(r, false, s.shape(s.rows, s.channels, s.in)...)}
		name := []string{"Conv", "MaxPool", "AveragePool", "ConvTranspose"}[kind%4]
		if name == "Conv" || name == "ConvTranspose" {
			k := []int{max(1, s.kernel[0]), max(1, s.kernel[1])}
			in = append(in, random(r, kind&32 == 0, s.shape(s.channels, s.channels, k)...))
			s.ceil = false
		}
		out, err := run(t, nodeOf(name, 22, in, 1, s.attributes()...), in)
		if err != nil {
			return
		}
		switch name {
		case "Conv":
			if !s.slide() {
				t.Fatalf("%+v was run", *s)
			}
			near(t, out[0], convolveSlowly(s, op.Floats(in[0]), op.Floats(in[1]), nil, s.channels, 1), 1e-4)
		case "ConvTranspose":
			s.out = []int{int(out[0].Shape[2]), int(out[0].Shape[3])}
			near(t, out[0], transposeSlowly(s, op.Floats(in[0]), op.Floats(in[1]), s.channels, 1), 1e-4)
		default:
			if !s.slide() {
				t.Fatalf("%+v was run", *s)
			}
			near(t, out[0], poolSlowly(s, name, op.Floats(in[0]), false, 2), 1e-4)
		}
	})
}
