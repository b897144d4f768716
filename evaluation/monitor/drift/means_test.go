// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// errorWorlds are ways in which errors of predictions can be distributed.
var errorWorlds = map[string]func(r *rand.Rand) float64{
	"half normal": func(r *rand.Rand) float64 { return math.Abs(r.NormFloat64()) },
	"exponential": func(r *rand.Rand) float64 { return r.ExpFloat64() },
	"lognormal":   func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) },
	"normal":      func(r *rand.Rand) float64 { return r.NormFloat64() },
	"counts":      func(r *rand.Rand) float64 { return math.Floor(2 * r.ExpFloat64()) },
}

// TestFalseAlarmsOfMeans: each tail at the 1 % level, where nothing changed.
// MILLRACE_SIMULATION=1 asks for more of it, and larger windows.
func TestFalseAlarmsOfMeans(t *testing.T) {
	sizes, draws, all := [][2]int{{50, 300}}, 1500, false
	if os.Getenv("MILLRACE_SIMULATION") != "" {
		sizes, draws, all = [][2]int{{50, 50}, {50, 500}, {50, 10000}, {200, 2000}, {1000, 10000}, {10000, 10000}}, 20000, true
	}
	for name, world := range errorWorlds {
		if !all && name != "exponential" && name != "normal" {
			continue
		}
		for _, size := range sizes {
			draws := min(draws, max(1000, 60_000_000/(size[0]+size[1])))
			r := rand.New(rand.NewPCG(uint64(size[0]), uint64(size[1])))
			var up, down int
			for range draws {
				above, below, err := MeanShift(sample(r, world, size[1]), sample(r, world, size[0]))
				if err != nil {
					t.Fatal(err)
				}
				if above <= DefaultLevel {
					up++
				}
				if below <= DefaultLevel {
					down++
				}
			}
			bounds(t, name, size, "mean, above", up, draws)
			bounds(t, name, size, "mean, below", down, draws)
		}
	}
}

// TestMeanShift holds the tails to shuffles of the pooled rows.
func TestMeanShift(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	reference := sample(r, errorWorlds["lognormal"], 120)
	current := sample(r, errorWorlds["lognormal"], 30)
	for _, shift := range []float64{-0.6, 0.1, 0.7} {
		moved := slices.Clone(current)
		for i := range moved {
			moved[i] += shift
		}
		above, below, err := MeanShift(reference, moved)
		if err != nil || math.Abs(above+below-1) > 0.02 {
			t.Fatalf("%v and %v, %v", above, below, err)
		}
		if want := shuffled(r, reference, moved, 20000); math.Abs(above-want) > 0.01+0.15*min(want, 1-want) {
			t.Errorf("shift %v: %v, shuffling gives %v", shift, above, want)
		}
	}
}

// shuffled is the share of shuffles whose difference of means is as large.
func shuffled(r *rand.Rand, reference, current []float64, draws int) float64 {
	pooled := slices.Concat(reference, current)
	n := len(current)
	difference := func(own []float64) float64 {
		a, b := 0.0, 0.0
		for i, v := range own {
			if i < len(reference) {
				a += v
			} else {
				b += v
			}
		}
		return b/float64(n) - a/float64(len(reference))
	}
	own, count := difference(pooled), 0
	for range draws {
		r.Shuffle(len(pooled), func(i, j int) { pooled[i], pooled[j] = pooled[j], pooled[i] })
		if difference(pooled) >= own-1e-12 {
			count++
		}
	}
	return float64(count) / float64(draws)
}

// TestMeanShiftOfMany: of many rows a part gives the tails, near those of a normal difference.
func TestMeanShiftOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	reference, current := sample(r, errorWorlds["normal"], 20_000), sample(r, errorWorlds["normal"], 200_000)
	mean := func(values []float64) (sum float64) {
		for _, v := range values {
			sum += v / float64(len(values))
		}
		return sum
	}
	se := math.Sqrt(1./20_000 + 1./200_000)
	move := 2.5*se - mean(current) + mean(reference)
	for i := range current {
		current[i] += move
	}
	above, below, err := MeanShift(reference, current)
	if want := math.Erfc(2.5/math.Sqrt2) / 2; err != nil || math.Abs(above/want-1) > 0.06 || math.Abs(below-1+want) > 0.001 {
		t.Errorf("%v and %v, want %v; %v", above, below, want, err)
	}
}

// TestMeanShiftEdges: constants, what is far beyond, and what is no number.
func TestMeanShiftEdges(t *testing.T) {
	many := func(v float64, n int) []float64 { return slices.Repeat([]float64{v}, n) }
	for _, c := range []struct {
		name               string
		reference, current []float64
		above, below       [2]float64 // least and most
	}{
		{"same", many(3, 50), many(3, 50), [2]float64{1, 1}, [2]float64{1, 1}},
		{"apart", many(0, 100), many(5, 50), [2]float64{0, 1e-9}, [2]float64{0.99, 1}},
		{"apart, below", many(5, 100), many(0, 50), [2]float64{0.99, 1}, [2]float64{0, 1e-9}},
		{"huge", []float64{-1e300, 1e300, 2e300}, []float64{1e300, -1e300}, [2]float64{0.1, 0.95}, [2]float64{0.1, 0.95}},
		{"equal means", []float64{-1, 1}, []float64{-1, 1}, [2]float64{0.5, 0.5}, [2]float64{0.5, 0.5}},
		{"one row", []float64{1, 2, 3}, []float64{2.5}, [2]float64{0, 1}, [2]float64{0, 1}},
	} {
		above, below, err := MeanShift(c.reference, c.current)
		if err != nil || !(above >= c.above[0] && above <= c.above[1] && below >= c.below[0] && below <= c.below[1]) {
			t.Errorf("%s: %v and %v, %v", c.name, above, below, err)
		}
	}
	for _, bad := range [][]float64{nil, {math.NaN()}, {math.Inf(1)}} {
		if _, _, err := MeanShift([]float64{1, 2}, bad); !errors.Is(err, ErrData) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
