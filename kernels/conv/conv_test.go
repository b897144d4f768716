// SPDX-License-Identifier: Apache-2.0

package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// problem is a product of random operands between canaries.
type problem struct {
	rows, cols, ldd int
	offsets         []int
	src, w, bias    []float32
	low, high       float32
}

func randomProblem(r *rand.Rand, rows, cols, taps int) *problem {
	p := &problem{rows: rows, cols: cols, ldd: cols + r.IntN(4), low: float32(math.Inf(-1)), high: float32(math.Inf(1))}
	reach := 0
	for range taps {
		o := r.IntN(40)
		p.offsets, reach = append(p.offsets, o), max(reach, o)
	}
	p.src, p.w, p.bias = make([]float32, cols+reach), make([]float32, rows*taps), make([]float32, rows)
	for _, x := range [][]float32{p.src, p.w, p.bias} {
		kerneltest.Fill(r, x, 1)
	}
	if r.IntN(2) == 0 {
		p.low, p.high = -0.5, 2
	}
	if r.IntN(4) == 0 {
		p.bias = nil
	}
	return p
}

// run computes all blocks, each alone.
func (p *problem) run(t *testing.T, off int) []float32 {
	taps := NewTaps(p.offsets)
	w := NewWeights(p.rows, len(p.offsets))
	w.Set(p.w, len(p.offsets))
	src, _ := kerneltest.Slice[float32](t, len(p.src), off)
	copy(src, p.src)
	dst := make([]float32, p.rows*p.ldd)
	for i := range dst {
		dst[i] = 77
	}
	for b := range w.Blocks() {
		first, rows := w.Block(b)
		part, check := kerneltest.Slice[float32](t, (rows-1)*p.ldd+p.cols, off)
		for i := range part {
			part[i] = 77
		}
		Rows(part, p.ldd, src, p.cols, taps, w, b, &Epilogue{Bias: p.bias, Low: p.low, High: p.high})
		check()
		copy(dst[first*p.ldd:], part)
	}
	return dst
}

// check compares with sums in float64.
func (p *problem) check(t *testing.T, got []float32) {
	t.Helper()
	for r := range p.rows {
		for i := range p.ldd {
			x := got[r*p.ldd+i]
			if i >= p.cols {
				if x != 77 {
					t.Fatalf("row %d column %d of %d is %g: written beyond the columns", r, i, p.cols, x)
				}
				continue
			}
			sum, magnitude := 0.0, 0.0
			if p.bias != nil {
				sum = float64(p.bias[r])
			}
			magnitude = math.Abs(sum)
			for k, o := range p.offsets {
				term := float64(p.w[r*len(p.offsets)+k]) * float64(p.src[i+o])
				sum, magnitude = sum+term, magnitude+math.Abs(term)
			}
			want := min(max(sum, float64(p.low)), float64(p.high))
			if diff := math.Abs(float64(x) - want); diff > float64(len(p.offsets)+1)*magnitude/(1<<24) {
				t.Fatalf("rows %d cols %d taps %d: row %d column %d is %g, want %g", p.rows, p.cols, len(p.offsets), r, i, x, want)
			}
		}
	}
}

func TestRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 1)
		for rows := 1; rows <= 19; rows++ {
			for _, cols := range kerneltest.Lengths(4)[1:] {
				if cols > 300 && rows > 9 {
					continue
				}
				p := randomProblem(r, rows, cols, 1+r.IntN(12))
				p.check(t, p.run(t, r.IntN(16)))
			}
		}
	})
}

// TestRowsSameBits holds the vector levels to each other, and a column to itself at
// another place.
func TestRowsSameBits(t *testing.T) {
	if cpu.Machine() < cpu.AVX2 || !hasKernels() {
		t.Skip("no vector kernels")
	}
	r := kerneltest.Rand(t, 2)
	for range 200 {
		p := randomProblem(r, 1+r.IntN(12), 1+r.IntN(120), 1+r.IntN(30))
		want := p.run(t, 0)
		for _, level := range []cpu.Level{cpu.AVX2, cpu.AVX512} {
			if level > cpu.Machine() {
				continue
			}
			restore := cpu.Limit(level)
			kerneltest.Same(t, level.String(), p.run(t, 3), want)
			restore()
		}
		shorter, skip := *p, r.IntN(p.cols)
		shorter.src, shorter.cols, shorter.ldd = p.src[skip:], p.cols-skip, p.ldd-skip
		got := shorter.run(t, 0)
		for row := range p.rows {
			kerneltest.Same(t, "columns from another place on", got[row*shorter.ldd:][:shorter.cols], want[row*p.ldd+skip:][:shorter.cols])
		}
	}
}

// TestWrapped holds columns with gaps to those of Rows over the gaps as well, to the bit.
func TestWrapped(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 5)
		for range 600 {
			width, gap, rows := 8+r.IntN(40), r.IntN(5), 3+r.IntN(14)
			cols := 1 + r.IntN(6*width)
			p := randomProblem(r, rows, cols+cols/width*gap, 1+r.IntN(20))
			taps, w := NewTaps(p.offsets), NewWeights(rows, len(p.offsets))
			w.Set(p.w, len(p.offsets))
			e := &Epilogue{Bias: p.bias, Low: p.low, High: p.high}
			for b := range w.Blocks() {
				_, rows := w.Block(b)
				if !Wraps(rows, width) {
					continue
				}
				flat := make([]float32, rows*p.ldd)
				Rows(flat, p.ldd, p.src, p.cols, taps, w, b, e)
				// The input ends with the last window.
				last := (cols - 1) + (cols-1)/width*gap + taps.Reach() + 1
				ldd := cols + r.IntN(3)
				got, check := kerneltest.Slice[float32](t, (rows-1)*ldd+cols, r.IntN(16))
				Wrapped(got, ldd, p.src[:last:last], cols, width, gap, taps, w, b, e)
				check()
				for row := range rows {
					for i := range cols {
						want := flat[row*p.ldd+i+i/width*gap]
						if x := got[row*ldd+i]; x != want {
							t.Fatalf("width %d gap %d cols %d rows %d: row %d column %d is %g, want %g", width, gap, cols, rows, row, i, x, want)
						}
					}
				}
			}
		}
	})
}

func TestRowsKeepNaN(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		p := randomProblem(kerneltest.Rand(t, 3), 5, 61, 3)
		p.low, p.high = 0, 1
		for i := range p.src {
			p.src[i] = float32(math.NaN())
		}
		got := p.run(t, 0)
		for i, x := range got {
			if i%p.ldd < p.cols && x == x {
				t.Fatalf("element %d is %g, want NaN", i, x)
			}
		}
	})
}

// grids gives pools of random shape.
func grids(r *rand.Rand, visit func(g *Grid, t *Taps, src, dst int)) {
	for _, cols := range kerneltest.Lengths(4)[1:] {
		for step := 1; step <= 3; step++ {
			g := &Grid{Rows: 1 + r.IntN(4), Cols: cols, DstRow: cols + r.IntN(3), Step: step}
			g.SrcRow = r.IntN(3 * cols)
			var offsets []int
			for range 1 + r.IntN(9) {
				offsets = append(offsets, r.IntN(30))
			}
			taps := NewTaps(offsets)
			visit(g, taps, (g.Rows-1)*g.SrcRow+(cols-1)*step+taps.Reach()+1, (g.Rows-1)*g.DstRow+cols)
		}
	}
}

func TestPools(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 4)
		grids(r, func(g *Grid, taps *Taps, lenSrc, lenDst int) {
			// A slice that ends where the last window does shows reads beyond it only
			// where memory ends; checks of masks are what the lengths are for.
			src, _ := kerneltest.Slice[float32](t, lenSrc, r.IntN(16))
			kerneltest.Fill(r, src, 1)
			for _, pool := range []string{"max", "sum", "copy"} {
				dst, check := kerneltest.Slice[float32](t, lenDst, r.IntN(16))
				want := make([]float32, lenDst)
				for row := range g.Rows {
					to, from := want[row*g.DstRow:][:g.Cols], src[row*g.SrcRow:]
					switch pool {
					case "max":
						maxGeneric(to, from, g.Step, taps, float32(math.Inf(-1)))
					case "sum":
						sumGeneric(to, from, g.Step, taps)
					default:
						for i := range to {
							to[i] = from[i*g.Step]
						}
					}
				}
				switch pool {
				case "max":
					Max(dst, src, g, taps)
				case "sum":
					Sum(dst, src, g, taps)
				default:
					Copy(dst, src, g)
				}
				check()
				kerneltest.Same(t, fmt.Sprintf("%s of %+v", pool, *g), dst, want)
			}
		})
	})
}

// TestFilter holds it to the sums in float64.
func TestFilter(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 6)
		grids(r, func(g *Grid, taps *Taps, lenSrc, lenDst int) {
			src, w, bias := make([]float32, lenSrc), make([]float32, taps.Len()), make([]float32, 1)
			for _, x := range [][]float32{src, w, bias} {
				kerneltest.Fill(r, x, 1)
			}
			dst, check := kerneltest.Slice[float32](t, lenDst, r.IntN(16))
			e := &Epilogue{Bias: bias, Low: -1, High: 3}
			Filter(dst, src, g, taps, w, e)
			check()
			for row := range g.Rows {
				for i := range g.Cols {
					sum := float64(bias[0])
					magnitude := math.Abs(sum)
					for k, o := range taps.offsets {
						term := float64(w[k]) * float64(src[row*g.SrcRow+i*g.Step+o/4])
						sum, magnitude = sum+term, magnitude+math.Abs(term)
					}
					want, got := min(max(sum, -1), 3), float64(dst[row*g.DstRow+i])
					if math.Abs(got-want) > float64(taps.Len()+1)*magnitude/(1<<24) {
						t.Fatalf("%+v: row %d column %d is %g, want %g", *g, row, i, got, want)
					}
				}
			}
		})
	})
}

func TestMaxOfNaNAndNothing(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(-1))
		src := []float32{nan, 1, 1, nan, inf, inf}
		want := make([]float32, 5)
		g, taps := &Grid{Rows: 1, Cols: 5, Step: 1}, NewTaps([]int{0, 1})
		maxGeneric(want, src, 1, taps, inf)
		got := make([]float32, 5)
		Max(got, src, g, taps)
		kerneltest.Same(t, "largest", got, want)
		if want[0] != 1 || want[2] == want[2] || want[4] != inf {
			t.Fatalf("largest are %v", want)
		}
	})
}

func TestPanics(t *testing.T) {
	taps, w := NewTaps([]int{0, 3}), NewWeights(2, 2)
	e := &Epilogue{High: 1}
	x := make([]float32, 20)
	for name, do := range map[string]func(){
		"short source":      func() { Rows(x, 10, x[:12], 10, taps, w, 0, e) },
		"short destination": func() { Rows(x[:19], 10, x, 10, taps, w, 0, e) },
		"other taps":        func() { Rows(x, 10, x, 10, one, w, 0, e) },
		"short bias":        func() { Rows(x, 10, x, 10, taps, w, 0, &Epilogue{Bias: x[:1]}) },
		"no taps":           func() { NewTaps(nil) },
		"negative offset":   func() { NewTaps([]int{-1}) },
		"short pool":        func() { Max(x, x[:12], &Grid{Rows: 1, Cols: 10, Step: 1}, taps) },
		"no step":           func() { Sum(x, x, &Grid{Rows: 1, Cols: 10}, one) },
		"no such kernel":    func() { Wrapped(x, 10, x, 10, 4, 1, taps, w, 0, e) },
		"short copy":        func() { Copy(x[:9], x, &Grid{Rows: 1, Cols: 10, Step: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			do()
		})
	}
}

func TestAllocations(t *testing.T) {
	taps, w := NewTaps([]int{0, 3}), NewWeights(9, 2)
	x, y := make([]float32, 300), make([]float32, 300)
	g := &Grid{Rows: 3, Cols: 20, SrcRow: 50, DstRow: 20, Step: 2}
	e := &Epilogue{High: 1}
	if n := testing.AllocsPerRun(10, func() {
		Rows(y, 30, x, 30, taps, w, 1, e)
		Max(y, x, g, taps)
		Sum(y, x, g, taps)
		Copy(y, x, g)
		Filter(y, x, g, taps, x, &Epilogue{High: 1})
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// FuzzRows draws sizes and operands from the fuzzer's numbers.
func FuzzRows(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint16(50), uint8(9))
	f.Add(uint64(2), uint8(17), uint16(1), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, rows uint8, cols uint16, taps uint8) {
		r := kerneltest.Rand(t, seed)
		p := randomProblem(r, 1+int(rows)%40, 1+int(cols)%500, 1+int(taps)%60)
		p.check(t, p.run(t, int(seed%16)))
	})
}
