// SPDX-License-Identifier: Apache-2.0

package drift

import "math"

// spectrumGroups bounds the groups that the null of CvM is found from.
const spectrumGroups = 48

// cvm is the Cramer-von Mises test: the mean over the pooled rows of the squared difference
// of the distribution functions, times mn/(m+n). Its limit is a sum of squares of a Brownian
// bridge at the values that there are, whose moments follow from the bridge's covariance.
func (n *Numbers) cvm(level float64) Result {
	cur, ref := len(n.current), len(n.reference)
	r := Result{Test: CvM, Reference: ref, Current: cur, Bins: len(n.groups)}
	all := float64(cur) + float64(ref)
	i, j := 0, 0
	for _, g := range n.groups {
		i, j = i+g.x, j+g.all-g.x
		d := float64(i)/float64(cur) - float64(j)/float64(ref)
		r.Statistic += float64(g.all) * d * d
	}
	r.Statistic *= float64(cur) * float64(ref) / (all * all)
	if len(n.groups) == 1 {
		r.P, r.Threshold, r.Method = 1, math.Inf(1), Degenerate
		return r
	}
	c := n.bridgeMoments()
	// The permutation variance without ties (Anderson 1962) over that of the limit, 1/45.
	m, k := float64(ref), float64(cur)
	c.variance *= (all + 1) / (all * all) * (4*m*k*all - 3*(m*m+k*k) - 2*m*k) / (4 * m * k)
	if len(n.groups) == 2 { // one square, a chi-squared statistic: exact as a table
		s, p := n.Binned(2), 0.0
		if t, err := s.Test(ChiSquared, level); err == nil {
			p = t.P
		}
		r.P, r.Method = p, Exact
		r.Threshold = newTail(c).quantile(level)
		return r
	}
	t := newTail(c)
	r.P, r.Threshold, r.Method = t.above(r.Statistic), t.quantile(level), Gaussian
	return r
}

// bridgeMoments are the cumulants of the sum of squares. Groups that are joined stand at
// their middle, unless they are one value, whose rows all stand at its end.
func (n *Numbers) bridgeMoments() cumulants {
	all := len(n.current) + len(n.reference)
	var at, weight []float64
	rows, open, values := 0, 0, 0
	mean := 0.0
	for k, g := range n.groups {
		rows += g.all
		open += g.all
		values++
		u := float64(rows) / float64(all)
		mean += float64(g.all) / float64(all) * u * (1 - u)
		if open*spectrumGroups < all && len(n.groups) > spectrumGroups && k+1 < len(n.groups) {
			continue
		}
		if values > 1 {
			u -= float64(open) / float64(all) / 2
		}
		at, weight = append(at, u), append(weight, float64(open)/float64(all))
		open, values = 0, 0
	}
	second, third := traces(at, weight)
	exact := float64(all) / float64(all-1) // rows are dealt out without replacement
	return cumulants{mean * exact, 2 * second * exact * exact, 8 * third * exact * exact * exact}
}

// traces are the sums of the squares and of the cubes of the eigenvalues of the bridge's
// covariance at these places, with these weights.
func traces(at, weight []float64) (second, third float64) {
	k := len(at)
	a := make([]float64, k*k)
	for i := range k {
		for j := range k {
			a[i*k+j] = math.Sqrt(weight[i]*weight[j]) * (math.Min(at[i], at[j]) - at[i]*at[j])
			second += a[i*k+j] * a[i*k+j]
		}
	}
	for i := range k {
		for j := i; j < k; j++ {
			square := 0.0
			for l := range k {
				square += a[i*k+l] * a[j*k+l]
			}
			if third += square * a[i*k+j]; i != j {
				third += square * a[i*k+j]
			}
		}
	}
	return second, third
}
