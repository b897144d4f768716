// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"math"
	"sync"

	"gonum.org/v1/gonum/integrate/quad"
)

// latticeMax bounds the steps of an exact p-value of KS, about 2 ns each.
const latticeMax = 6_000_000

// gridGroups is into how many groups values are put where there are too many rows for an
// exact p-value: the statistic then is the largest difference between groups.
const gridGroups = 100

// ks is the Kolmogorov-Smirnov test. Differences are whole numbers over m*n, so that equal
// ones are equal.
func (n *Numbers) ks(level float64) Result {
	cur, ref := len(n.current), len(n.reference)
	r := Result{Test: KS, Reference: ref, Current: cur, Bins: len(n.groups)}
	scale := float64(cur) * float64(ref)
	root := math.Sqrt(scale / float64(cur+ref))
	most := farthest(n.groups, cur, ref)
	r.Statistic = float64(most) / scale
	r.Threshold = kolmogorovQuantile(level) / root
	if len(n.groups) == 1 {
		r.P, r.Threshold, r.Method = 1, math.Inf(1), Degenerate
		return r
	}
	if at, ok := lattice(n.groups, cur, ref, most); ok {
		beyond, ok := lattice(n.groups, cur, ref, most+1)
		if ok {
			r.P, r.Method = clamp((at+beyond)/2), Exact
			return r
		}
	}
	coarse := coarsen(n.groups, gridGroups, cur+ref)
	z := float64(farthest(coarse, cur, ref)) / scale * root
	r.P, r.Method = bridge(coarse, cur+ref, z), Gaussian
	return r
}

// farthest is the largest difference of the distribution functions, times cur*ref.
func farthest(groups []group, cur, ref int) int64 {
	i, j, most := int64(0), int64(0), int64(0)
	for _, g := range groups {
		i, j = i+int64(g.x), j+int64(g.all-g.x)
		most = max(most, i*int64(ref)-j*int64(cur), j*int64(cur)-i*int64(ref))
	}
	return most
}

// lattice is the chance that the difference is at least bound (times cur*ref) after one of
// the groups, if rows are dealt out at random. It follows the chance of each number of
// current rows so far, row by row, and takes out what reached the bound. False if that
// takes more than latticeMax steps.
func lattice(groups []group, cur, ref int, bound int64) (float64, bool) {
	if bound <= 0 {
		return 1, true
	}
	all := cur + ref
	w := make([]float64, cur+2)
	w[0] = 1
	low, high, rows, out, work := 0, 0, 0, 0.0, 0
	for _, g := range groups {
		for range g.all {
			left := float64(all - rows)
			top := min(high+1, cur)
			for i := top; i >= low; i-- {
				stay := w[i] * float64(ref-(rows-i)) / left
				if i > low {
					stay += w[i-1] * float64(cur-i+1) / left
				}
				w[i] = stay
			}
			if w[low] == 0 && low < top {
				low++ // all of the reference was dealt out
			}
			high = top
			rows++
			if work += top - low + 4; work > latticeMax {
				return 0, false
			}
		}
		if rows == all {
			break // both functions are 1
		}
		for ; low <= high && apart(low, rows, cur, ref) <= -bound; low++ {
			out += w[low]
			w[low] = 0
		}
		for ; high >= low && apart(high, rows, cur, ref) >= bound; high-- {
			out += w[high]
			w[high] = 0
		}
		if low > high {
			break
		}
	}
	return out, true
}

// apart is the difference with i current rows of so many, times cur*ref.
func apart(i, rows, cur, ref int) int64 {
	return int64(i)*int64(ref) - int64(rows-i)*int64(cur)
}

// coarsen joins neighbours, so that there are at most about so many groups and none is much
// smaller than its share: bridge knows the density after no smaller step.
func coarsen(groups []group, most, all int) []group {
	var joined []group
	open := group{}
	for _, g := range groups {
		open.value, open.all, open.x = g.value, open.all+g.all, open.x+g.x
		if open.all*most >= all {
			joined, open = append(joined, open), group{}
		}
	}
	if last := len(joined) - 1; open.all > 0 && last >= 0 {
		joined[last].value, joined[last].all, joined[last].x = open.value, joined[last].all+open.all, joined[last].x+open.x
	} else if open.all > 0 {
		joined = append(joined, open)
	}
	return joined
}

// nodes are where densities are kept between the two bounds, and their weights, for bounds
// of -1 and 1. With them the density after the smallest usual step, a hundredth of the way,
// is known to six digits up to z = 4.
const nodes = 80

var legendre = sync.OnceValue(func() [2][]float64 {
	x, w := make([]float64, nodes), make([]float64, nodes)
	quad.Legendre{}.FixedLocations(x, w, -1, 1)
	return [2][]float64{x, w}
})

// farZ is from where on the tail is taken from Kolmogorov's formula, which is an upper
// bound: at 4 it is 2.5e-14.
const farZ = 4

// bridge is the chance that a Brownian bridge is z or more from 0 after one of the groups.
// It follows the density of Brownian motion that stayed between the bounds from group to
// group, and at last asks for a return to 0.
func bridge(groups []group, all int, z float64) float64 {
	if z <= 0 {
		return 1
	}
	if z > farZ {
		return 2 * math.Exp(-2*z*z)
	}
	x, w := legendre()[0], legendre()[1]
	density, next := make([]float64, nodes), make([]float64, nodes)
	at, begun := 0, false
	for _, g := range groups[:len(groups)-1] {
		step := float64(g.all) / float64(all)
		scale := 1 / math.Sqrt(2*math.Pi*step)
		for k := range nodes {
			if !begun {
				next[k] = scale * math.Exp(-z*z*x[k]*x[k]/(2*step))
				continue
			}
			sum := 0.0
			for l := range nodes {
				if d := z * (x[k] - x[l]); d*d < 80*step {
					sum += w[l] * density[l] * math.Exp(-d*d/(2*step))
				}
			}
			next[k] = sum * z * scale
		}
		begun = true
		at += g.all
		density, next = next, density
	}
	step, stayed := 1-float64(at)/float64(all), 0.0
	for k := range nodes {
		stayed += w[k] * z * density[k] * math.Exp(-z*z*x[k]*x[k]/(2*step)) / math.Sqrt(step)
	}
	return math.Min(clamp(1-stayed)+1e-15, 2*math.Exp(-2*z*z))
}

// kolmogorovQuantile is the limit of sqrt(mn/(m+n)) times the statistic that is passed with
// a chance of level, by the first term of Kolmogorov's series, which is 0.1 % too much at
// most for levels up to 0.2. Ties make it a safe bound.
func kolmogorovQuantile(level float64) float64 { return math.Sqrt(-math.Log(level/2) / 2) }
