// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// dot is the inner product of equally long slices.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

// squaredDistance is between equally long slices.
func squaredDistance(a, b []float32) float64 {
	var s float32
	b = b[:len(a)]
	for i := range a {
		d := a[i] - b[i]
		s += d * d
	}
	return float64(s)
}

// kCenter chooses the item farthest from all that is labelled or chosen, again and again.
// With nothing labelled the first is the first of items.
func kCenter(pool *Pool, items []int, count int, strategy Strategy) []Choice {
	near := make([]float64, len(items)) // squared distance to the nearest centre
	for i := range near {
		near[i] = math.Inf(1)
	}
	approach := func(center []float32) {
		for i, item := range items {
			near[i] = min(near[i], squaredDistance(center, pool.embedding(item)))
		}
	}
	for at := 0; at < len(pool.Labelled); at += pool.Dim {
		approach(pool.Labelled[at : at+pool.Dim])
	}
	out := make([]Choice, 0, count)
	for range count {
		best := 0
		for i, d := range near {
			if d > near[best] {
				best = i
			}
		}
		c := Choice{Item: items[best], Strategy: strategy, Score: math.Sqrt(near[best])}
		if math.IsInf(near[best], 1) {
			c.Score, c.Why = 0, "the first of a selection that covers the pool"
		} else {
			c.Why = fmt.Sprintf("at distance %.3g from all that is labelled or chosen", c.Score)
		}
		out = append(out, c)
		approach(pool.embedding(items[best]))
		near[best] = -1 // never again
	}
	return out
}

// badge is k-means++ over gradient embeddings (p - e_best) x (x, 1). They are never
// written out: the inner product of two is that of their parts, multiplied.
func badge(pool *Pool, items []int, count int, r *rand.Rand) []Choice {
	labels := len(pool.Probabilities[0])
	parts := make([]float32, len(items)*labels)
	part := func(i int) []float32 { return parts[i*labels : (i+1)*labels] }
	squares := make([]float64, len(items))
	for i, item := range items {
		row := pool.Probabilities[item]
		_, _, best := twoBest(row)
		for j, p := range row {
			part(i)[j] = float32(p)
		}
		part(i)[best] = float32(row[best] - 1)
		x := pool.embedding(item)
		squares[i] = float64(dot(part(i), part(i))) * (1 + float64(dot(x, x)))
	}
	near := make([]float64, len(items))
	copy(near, squares) // the first is drawn by its squared length
	out := make([]Choice, 0, count)
	for range count {
		at := draw(near, r)
		out = append(out, Choice{Item: items[at], Strategy: Badge, Score: math.Sqrt(max(0, squares[at])),
			Why: fmt.Sprintf("its label would change the model by a gradient of length %.3g, unlike that of others chosen", math.Sqrt(max(0, squares[at])))})
		for i, item := range items {
			if near[i] < 0 {
				continue
			}
			inner := float64(dot(part(at), part(i))) * (1 + float64(dot(pool.embedding(items[at]), pool.embedding(item))))
			near[i] = min(near[i], max(0, squares[at]+squares[i]-2*inner))
		}
		near[at] = -1
	}
	return out
}

// draw takes a place with a probability in proportion to its weight; negative ones are
// gone. If no weight is left, the first that is not gone.
func draw(weights []float64, r *rand.Rand) int {
	sum := 0.0
	for _, w := range weights {
		sum += max(0, w)
	}
	left, last := r.Float64()*sum, -1
	for i, w := range weights {
		if w < 0 || w == 0 && sum > 0 {
			continue
		}
		if last = i; left < w || sum == 0 {
			return i
		}
		left -= w
	}
	return last
}
