// SPDX-License-Identifier: Apache-2.0

package linear

// chunkRows are worked on at a time: their numbers stay in the nearest cache.
const chunkRows = 512

// chunk holds the numbers of some rows while their terms are made.
type chunk struct {
	recipe *recipe
	values [][]float32 // the features of these rows
	raw    [][]float32 // by number, filled
	ready  [][]float32 // by number, after the logarithm; raw where there is none
	factor []float32
}

func (r *recipe) newChunk() *chunk {
	c := &chunk{recipe: r, values: make([][]float32, len(r.features)), factor: make([]float32, chunkRows)}
	for i := range r.numbers {
		c.raw = append(c.raw, make([]float32, chunkRows))
		c.ready = append(c.ready, c.raw[i])
		if r.numbers[i].log {
			c.ready[i] = make([]float32, chunkRows)
		}
	}
	return c
}

// load makes the numbers of rows from to to ready, at most chunkRows.
func (c *chunk) load(values [][]float32, from, to int) {
	for f := range values {
		c.values[f] = values[f][from:to]
	}
	for i := range c.recipe.numbers {
		n := &c.recipe.numbers[i]
		raw := c.raw[i][:to-from]
		n.fillIn(raw, c.values[n.feature])
		if n.log {
			copy(c.ready[i], raw)
			logarithms(c.ready[i][:to-from])
		}
	}
}

// write makes a term of the loaded rows, less its mean and before its scale: what the
// exported graph has just before the weights.
func (c *chunk) write(t *term, to []float32) {
	switch t.kind {
	case lineTerm:
		for i, x := range c.ready[t.source][:len(to)] {
			to[i] = min(max(x, t.low), t.high) - t.mean
		}
	case stepTerm:
		for i, x := range c.raw[t.source][:len(to)] {
			to[i] = truth(x > t.low)
		}
	case absentTerm:
		for i, x := range c.values[t.source] {
			to[i] = truth(x != x)
		}
	case productTerm:
		other := c.factor[:len(to)]
		c.standardise(t.source, to)
		c.standardise(t.other, other)
		for i := range to {
			to[i] = to[i]*other[i] - t.mean
		}
	}
}

// standardise writes a number as a factor of products.
func (c *chunk) standardise(source int, to []float32) {
	low, high, mean, scale := c.recipe.numbers[source].factor()
	for i, x := range c.ready[source][:len(to)] {
		to[i] = (min(max(x, low), high) - mean) * scale
	}
}

// factor is how a number is standardised within products.
func (n *number) factor() (low, high, mean, scale float32) {
	m := n.moments
	reach := factorMax * m.deviation
	return bounded(m.mean - reach), bounded(m.mean + reach), float32(m.mean), float32(1 / m.deviation)
}

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// code is the place of a category's value among its weights, or -1.
func code(x float32, size int) int32 {
	if x >= 0 && x < float32(size) && x == float32(int32(x)) {
		return int32(x)
	}
	return -1
}
