// SPDX-License-Identifier: Apache-2.0

// Package boost grows gradient boosted trees for benchmarks. How fast an ensemble is
// evaluated depends on the shapes of its trees, on how often they share comparisons and
// on which branches rows take, so random trees will not do: these are trained, in the
// way of the usual libraries (histograms of up to 256 bins, leaves grown where they gain
// most, a share of the rows and columns for each tree), on synthetic rows.
//
// The same seed gives the same trees. What was grown does not change.
package boost

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Features is the number of columns of the synthetic rows.
const Features = 32

// Data is rows with their targets.
type Data struct {
	// X is row by row.
	X []float32
	Y []float32
}

// Rows is how many there are.
func (d *Data) Rows() int { return len(d.Y) }

// Synthetic draws rows: normal columns, long-tailed ones, counts, uniform ones. The
// target has interactions, steps and noise, and leaves some columns out.
func Synthetic(rows int, seed uint64) *Data {
	r := rand.New(rand.NewPCG(seed, 0))
	d := &Data{X: make([]float32, rows*Features), Y: make([]float32, rows)}
	for i := range rows {
		x := d.X[i*Features:][:Features]
		for j := range x {
			switch {
			case j >= 8 && j < 16:
				x[j] = float32(math.Exp(r.NormFloat64()))
			case j >= 16 && j < 24:
				x[j] = float32(r.IntN(40))
			case j >= 24 && j < 28:
				x[j] = r.Float32()
			default:
				x[j] = float32(r.NormFloat64())
			}
		}
		d.Y[i] = float32(target(x) + r.NormFloat64()/2)
	}
	return d
}

func target(x []float32) float64 {
	at := func(j int) float64 { return float64(x[j]) }
	y := math.Sin(2*at(0))*at(1) + at(2)*at(2)/2 + math.Log1p(at(8))*at(16)/10
	y += math.Mod(at(17), 7)*at(3)*0.3 + at(24)*at(25)*3 + math.Tanh(at(4)+at(5)*at(26))
	if at(10) < 1 {
		y += 0.3 * at(9)
	}
	return y
}

// binsMax is how many bins a column has at most, so that a bin fits a byte.
const binsMax = 256

// binned is rows by the bins of their values.
type binned struct {
	rows int
	bins []uint8 // row by row
	// edges are the thresholds of each column: a value is in the bin whose number is
	// how many of them it reaches.
	edges [Features][]float32
}

func bin(d *Data) *binned {
	b := &binned{rows: d.Rows(), bins: make([]uint8, len(d.X))}
	column := make([]float32, b.rows)
	for j := range Features {
		for i := range column {
			column[i] = d.X[i*Features+j]
		}
		slices.Sort(column)
		b.edges[j] = quantiles(column)
		for i := range b.rows {
			b.bins[i*Features+j] = binOf(b.edges[j], d.X[i*Features+j])
		}
	}
	return b
}

// quantiles are at most binsMax-1 different values that part sorted ones evenly.
func quantiles(sorted []float32) []float32 {
	var edges []float32
	for k := 1; k < binsMax; k++ {
		v := sorted[k*len(sorted)/binsMax]
		if v > sorted[0] && (len(edges) == 0 || v > edges[len(edges)-1]) {
			edges = append(edges, v)
		}
	}
	return edges
}

func binOf(edges []float32, v float32) uint8 {
	n, found := slices.BinarySearch(edges, v)
	if found {
		n++
	}
	return uint8(n)
}
