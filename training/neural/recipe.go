// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"

	"github.com/millrace-ml/millrace/training/learn"
)

const (
	// deviationsMax bounds a standardised number: a value far outside of what was learnt from
	// should not drown the others.
	deviationsMax = 10
	// A number is skewed enough for its logarithm from here on.
	skewMin      = 2
	magnitudeMin = 10
)

// number is a numeric feature and what is done to it.
type number struct {
	feature            int
	fill, mean, scale  float32
	logarithm, missing bool
}

// category is a categorical feature. Its last embedding is for what was not seen.
type category struct{ feature, size, width int }

// recipe turns features into the inputs of the first layer: numbers, whether they are
// missing, embeddings.
type recipe struct {
	features   int // of the table
	numbers    []number
	missing    []int // places in numbers
	categories []category
}

// width is that of the first layer's input.
func (r *recipe) width() int {
	n := r.dense()
	for _, c := range r.categories {
		n += c.width
	}
	return n
}

// dense counts the inputs that are no embeddings.
func (r *recipe) dense() int { return len(r.numbers) + len(r.missing) }

func (t *trainer) newRecipe(table *learn.Table) *recipe {
	r := &recipe{features: len(table.Features)}
	for f, feature := range table.Features {
		if feature.Categorical {
			size := len(feature.Categories) + 1
			r.categories = append(r.categories, category{f, size, t.embeddingWidth(size)})
			continue
		}
		n, ok := t.newNumber(f, table.Values[f])
		if !ok {
			continue // has no value: there is nothing to learn of it
		}
		if n.missing {
			r.missing = append(r.missing, len(r.numbers))
		}
		r.numbers = append(r.numbers, n)
	}
	return r
}

// embeddingWidth is the rule of thumb of the fastai library, 1.6 n^0.56, at most 50.
func (t *trainer) embeddingWidth(size int) int {
	if t.embedding > 0 {
		return t.embedding
	}
	return min(50, int(math.Round(1.6*math.Pow(float64(size), 0.56))))
}

func (t *trainer) newNumber(feature int, values []float32) (number, bool) {
	mean, deviation, skew, count, magnitude := moments(values, nil)
	if count == 0 {
		return number{}, false
	}
	n := number{feature: feature, fill: float32(mean), missing: count < len(values)}
	n.logarithm = t.logarithmsOf == "all" || t.logarithmsOf == "skewed" && math.Abs(skew) > skewMin && magnitude > magnitudeMin
	if n.logarithm {
		mean, deviation, _, _, _ = moments(values, func(v float32) float32 { return logarithm(v) })
	}
	n.mean = float32(mean)
	if deviation > 1e-7*math.Abs(mean) && deviation > 1e-30 {
		n.scale = float32(1 / deviation)
	}
	return n, true
}

// logarithm is sign(x) log(1+|x|).
func logarithm(v float32) float32 {
	one := 1 + float32(math.Abs(float64(v)))
	return float32(math.Copysign(math.Log(float64(one)), float64(v)))
}

// moments of the values that are there, after a change if there is one.
func moments(values []float32, change func(float32) float32) (mean, deviation, skew float64, count int, magnitude float64) {
	at := func(v float32) float64 {
		if change != nil {
			v = change(v)
		}
		return float64(v)
	}
	for _, v := range values {
		if v == v {
			count++
			mean += at(v)
			magnitude = max(magnitude, math.Abs(at(v)))
		}
	}
	if count == 0 {
		return 0, 0, 0, 0, 0
	}
	mean /= float64(count)
	var squares, cubes float64
	for _, v := range values {
		if v == v {
			d := at(v) - mean
			squares, cubes = squares+d*d, cubes+d*d*d
		}
	}
	deviation = math.Sqrt(squares / float64(count))
	if deviation > 0 {
		skew = cubes / float64(count) / (deviation * deviation * deviation)
	}
	return mean, deviation, skew, count, magnitude
}

// denseRow writes the inputs that are no embeddings.
func (r *recipe) denseRow(values [][]float32, row int, to []float32) {
	for i := range r.numbers {
		n := &r.numbers[i]
		to[i] = n.apply(values[n.feature][row])
	}
	for i, place := range r.missing {
		v := values[r.numbers[place].feature][row]
		to[len(r.numbers)+i] = 0
		if v != v {
			to[len(r.numbers)+i] = 1
		}
	}
}

func (n *number) apply(v float32) float32 {
	if v != v {
		v = n.fill
	}
	if n.logarithm {
		v = logarithm(v)
	}
	return min(max((v-n.mean)*n.scale, -deviationsMax), deviationsMax)
}

// code is the place of a row's embedding.
func (c *category) code(values [][]float32, row int) int {
	v := values[c.feature][row]
	if v != v || int(v) < 0 || int(v) >= c.size-1 {
		return c.size - 1
	}
	return int(v)
}
