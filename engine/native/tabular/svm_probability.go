// SPDX-License-Identifier: Apache-2.0

package tabular

// coupling makes probabilities of classes of the probabilities between each two of
// them: the second method of Wu, Lin and Weng, "Probability estimates for multi-class
// classification by pairwise coupling" (JMLR 5, 2004), as in libsvm. Sums are in
// float32 and in the order of libsvm's, since the search ends at a rather wide bound,
// and a sum that is rounded otherwise can end it a round sooner.
type coupling struct {
	classes int
	// between is the probability of the row's class against the column's.
	between []float32
	q, qp   []float32
}

// couplingRounds bounds the search, as libsvm does.
const couplingRounds = 100

func newCoupling(classes int) *coupling {
	return &coupling{
		classes: classes, between: make([]float32, classes*classes), q: make([]float32, classes*classes),
		qp: make([]float32, classes),
	}
}

// probabilities writes those of a row of decisions.
func (c *coupling) probabilities(p, decisions, a, b []float32) {
	n, pair := c.classes, 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			const least = 1e-7
			v := 1 - logistic(decisions[pair]*a[pair]+b[pair])
			v = min(max(v, least), 1-least)
			c.between[i*n+j], c.between[j*n+i] = v, 1-v
			pair++
		}
	}
	c.prepare()
	for i := range p {
		p[i] = 1 / float32(n)
	}
	for range couplingRounds {
		pqp := c.products(p)
		if c.error(pqp) < 0.005/float32(n) {
			return
		}
		c.step(p, pqp)
	}
}

// prepare computes the matrix of the quadratic form that the probabilities minimise.
func (c *coupling) prepare() {
	n := c.classes
	for i := range n {
		sum := float32(0)
		for j := range n {
			if j != i {
				r := c.between[j*n+i]
				sum += r * r
				c.q[i*n+j] = -r * c.between[i*n+j]
			}
		}
		c.q[i*n+i] = sum
	}
}

// products computes q p and gives p q p.
func (c *coupling) products(p []float32) float32 {
	n, total := c.classes, float32(0)
	for i := range n {
		sum := float32(0)
		for j := range n {
			sum += c.q[i*n+j] * p[j]
		}
		c.qp[i] = sum
		total += p[i] * sum
	}
	return total
}

// error is how far the estimate is from the end.
func (c *coupling) error(pqp float32) float32 {
	largest := float32(0)
	for _, x := range c.qp {
		largest = max(largest, x-pqp, pqp-x)
	}
	return largest
}

// step improves each probability in turn.
func (c *coupling) step(p []float32, pqp float32) {
	n := c.classes
	for i := range n {
		own := c.q[i*n+i]
		d := (pqp - c.qp[i]) / own
		p[i] += d
		pqp = (pqp + d*(d*own+2*c.qp[i])) / (1 + d) / (1 + d)
		for j := range n {
			c.qp[j] = (c.qp[j] + d*c.q[i*n+j]) / (1 + d)
			p[j] /= 1 + d
		}
	}
}
