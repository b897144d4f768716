// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

const (
	// deviationsMax is how far from the mean a number counts; beyond it is held there.
	deviationsMax = 1e6
	// factorMax is the same for factors of products, which grow faster.
	factorMax = 10
	// skewMin and magnitudeMin are from where a number is skewed enough for a logarithm to
	// change it.
	skewMin      = 2
	magnitudeMin = 10
	// sampleMax bounds the values that quantiles are taken from.
	sampleMax = 200_000
)

// number is a numeric feature made ready: filled, and taken as a logarithm if so said.
type number struct {
	feature int
	fill    float32
	log     bool
	moments moments // of what it then is
}

// term is a column of the design matrix: its value less its mean, times its scale.
type term struct {
	kind kind
	// source is the place in numbers, or the feature for absent. Other is the second
	// number of a product.
	source, other int
	// low and high hold the number of a line; of a step, low is what it must exceed.
	low, high float32
	mean      float32
	scale     float64
	// spread is the standard deviation of the term with its scale, for importance.
	spread float64
}

// kind is what a term does with its source.
type kind uint8

const (
	lineTerm    kind = iota // the number held within low and high
	stepTerm                // 1 if the number, before its logarithm, exceeds low
	absentTerm              // 1 if the feature is missing
	productTerm             // of two numbers, standardised
)

// category is a categorical feature: a term for each of its codes.
type category struct{ feature, size int }

// recipe makes terms of features.
type recipe struct {
	features   []learn.Feature
	numbers    []number
	terms      []term
	categories []category
	// empty are features without a value, which have no terms.
	empty int
}

// columns counts the weights of one output, without its intercept.
func (r *recipe) columns() int {
	n := len(r.terms)
	for _, c := range r.categories {
		n += c.size
	}
	return n
}

// newRecipe looks at the training rows and says what the terms are.
func (t *trainer) newRecipe(table *learn.Table) (*recipe, error) {
	r := &recipe{features: table.Features}
	for f := range table.Features {
		if table.Features[f].Categorical {
			if n := len(table.Features[f].Categories); n > 0 {
				r.categories = append(r.categories, category{f, n})
			}
			continue
		}
		if err := t.addNumber(r, table, f); err != nil {
			return nil, err
		}
	}
	if t.products {
		r.addProducts()
	}
	slices.SortStableFunc(r.terms, func(a, b term) int { return int(a.kind) - int(b.kind) })
	if n := r.columns(); n > termsMax {
		return nil, fmt.Errorf("%w: %d terms, at most %d are learnt: use fewer knots, bins, products or categories", learn.ErrParameters, n, termsMax)
	}
	return r, nil
}

// addNumber adds a numeric feature and its terms.
func (t *trainer) addNumber(r *recipe, table *learn.Table, f int) error {
	values := table.Values[f]
	for i, x := range values {
		if math.IsInf(float64(x), 0) {
			return fmt.Errorf("%w: feature %s is infinite in row %d", learn.ErrData, table.Features[f].Name, i)
		}
	}
	m := momentsOf(values, table.Weights)
	if m.count == 0 {
		r.empty++
		return nil
	}
	if t.missing && m.count < len(values) {
		share := float64(m.count) / float64(len(values))
		r.terms = append(r.terms, term{kind: absentTerm, source: f, scale: 1, spread: math.Sqrt(share * (1 - share))})
	}
	n := number{feature: f, fill: float32(m.mean)}
	n.log = t.log == logAll || t.log == logSkewed && math.Abs(m.skew) > skewMin && max(-m.low, m.high) > magnitudeMin
	ready := make([]float32, len(values))
	n.fillIn(ready, values)
	raw := ready
	if n.log {
		raw = slices.Clone(ready)
		logarithms(ready)
	}
	n.moments = momentsOf(ready, table.Weights)
	if !n.moments.varies() {
		return nil
	}
	at := len(r.numbers)
	r.numbers = append(r.numbers, n)
	t.addLines(r, at, ready, table.Weights)
	for _, edge := range edges(raw, t.bins) {
		r.terms = append(r.terms, term{kind: stepTerm, source: at, low: edge, scale: 1, spread: 0.5})
	}
	return nil
}

// addLines adds the pieces of a number's broken line: one if there are no knots.
func (t *trainer) addLines(r *recipe, at int, ready, weights []float32) {
	m := r.numbers[at].moments
	bends := edges(ready, t.knots)
	if len(bends) == 0 {
		reach := deviationsMax * m.deviation
		r.terms = append(r.terms, lineOf(at, bounded(m.mean-reach), bounded(m.mean+reach), m))
		return
	}
	bends = append(append([]float32{float32(m.low)}, bends...), float32(m.high))
	piece := make([]float32, len(ready))
	for i := 0; i+1 < len(bends); i++ {
		low, high := bends[i], bends[i+1]
		if !(low < high) {
			continue
		}
		for k, x := range ready {
			piece[k] = min(max(x, low), high)
		}
		if own := momentsOf(piece, weights); own.varies() {
			r.terms = append(r.terms, lineOf(at, low, high, own))
		}
	}
}

func lineOf(source int, low, high float32, m moments) term {
	return term{kind: lineTerm, source: source, low: low, high: high, mean: float32(m.mean), scale: 1 / m.deviation, spread: 1}
}

func bounded(x float64) float32 {
	return float32(min(max(x, -math.MaxFloat32), math.MaxFloat32))
}

// addProducts adds each pair of numbers, and each square. Their own mean and deviation
// need the rows; see newDesign.
func (r *recipe) addProducts() {
	for a := range r.numbers {
		for b := a; b < len(r.numbers); b++ {
			r.terms = append(r.terms, term{kind: productTerm, source: a, other: b, scale: 1})
			if len(r.terms) > termsMax { // newRecipe says so
				return
			}
		}
	}
}

func (n *number) fillIn(to, values []float32) {
	for i, x := range values {
		if x != x {
			x = n.fill
		}
		to[i] = x
	}
}

// logarithms takes sign(x) log(1 + |x|), rounded as the exported graph does.
func logarithms(values []float32) {
	for i, x := range values {
		one := 1 + float32(math.Abs(float64(x)))
		values[i] = float32(math.Copysign(math.Log(float64(one)), float64(x)))
	}
}

// moments sum up a column; NaN are left out.
type moments struct {
	count                            int
	low, high, mean, deviation, skew float64
}

// varies is false where standardising would divide by nothing but rounding.
func (m *moments) varies() bool { return m.deviation > 1e-7*math.Abs(m.mean) && m.deviation > 1e-30 }

func momentsOf(values, weights []float32) moments {
	m := moments{low: math.Inf(1), high: math.Inf(-1)}
	var total, sum float64
	weight := func(i int) float64 {
		if weights == nil {
			return 1
		}
		return float64(weights[i])
	}
	for i, v := range values {
		if v != v {
			continue
		}
		x, w := float64(v), weight(i)
		m.count++
		m.low, m.high = min(m.low, x), max(m.high, x)
		total, sum = total+w, sum+w*x
	}
	if m.count == 0 {
		return m
	}
	m.mean = sum / total
	var squares, cubes float64
	for i, v := range values {
		if v == v {
			d := float64(v) - m.mean
			squares, cubes = squares+weight(i)*d*d, cubes+weight(i)*d*d*d
		}
	}
	m.deviation = math.Sqrt(squares / total)
	if m.deviation > 0 {
		m.skew = cubes / total / (m.deviation * m.deviation * m.deviation)
	}
	return m
}

// edges are at most n values strictly within the range of a column, which divide its rows
// about evenly: values that are frequent by themselves first, then quantiles of the rest.
func edges(column []float32, n int) []float32 {
	if n == 0 {
		return nil
	}
	step := (len(column) + sampleMax - 1) / sampleMax
	sorted := make([]float32, 0, len(column)/step+1)
	for i := 0; i < len(column); i += step {
		sorted = append(sorted, column[i])
	}
	slices.Sort(sorted)
	var chosen, rest []float32
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		if (j-i)*(n+1) >= len(sorted) && len(chosen) < n {
			chosen = append(chosen, sorted[i])
		} else {
			rest = append(rest, sorted[i:j]...)
		}
		i = j
	}
	if more := n - len(chosen); len(rest) > 0 {
		for i := 1; i <= more; i++ {
			chosen = append(chosen, rest[len(rest)*i/(more+1)])
		}
	}
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	low, high := sorted[0], sorted[len(sorted)-1]
	return slices.DeleteFunc(chosen, func(x float32) bool { return x <= low || x >= high })
}
