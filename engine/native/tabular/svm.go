// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/gemm"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// similarity is the function that compares a row with a support vector.
type similarity uint8

const (
	similarityLinear  similarity = iota // x.s
	similarityPoly                      // (gamma x.s + coef0)^degree
	similarityRBF                       // exp(-gamma |x-s|^2)
	similaritySigmoid                   // tanh(gamma x.s + coef0)
)

// rowsOfBlock is how many rows are compared with all support vectors at a time, so
// that what comes of it stays in cache.
const rowsOfBlock = 32

// vectorsOfBlock is how many support vectors are taken at a time for RBF, so that
// their sums stay in the nearest cache.
const vectorsOfBlock = 2048

// machine is what support vector machines have in common: rows of the input are
// compared with the support vectors, and the scores are weighted sums of that.
type machine struct {
	carriesRows
	similarity           similarity
	gamma, coef0, degree float32
	features, vectors    int
	// packed are the support vectors for products, nil for RBF, and columns, one
	// feature after the other, are those for RBF.
	packed  *gemm.Packed
	columns []float32
}

// summed is a linear machine whose scores are products with one vector each, which
// weighted support vectors add up to. That takes less time than to compare and weigh,
// and is more exact. add calls its argument for the runs of support vectors that score i
// weighs.
func (m *machine) summed(values []float32, scores int, add func(i int, run func(first int, weights []float32))) *machine {
	sums, rows := make([]float64, m.features), make([]float32, scores*m.features)
	for i := range scores {
		clear(sums)
		add(i, func(first int, weights []float32) {
			for v, w := range weights {
				for k, x := range values[(first+v)*m.features : (first+v+1)*m.features] {
					sums[k] += float64(w) * float64(x)
				}
			}
		})
		for k, sum := range sums {
			rows[i*m.features+k] = float32(sum)
		}
	}
	return &machine{features: m.features, vectors: scores, packed: gemm.Pack(m.features, scores, rows, m.features, true)}
}

// machineOf reads the kernel and count support vectors.
func machineOf(n *op.Node, count int) (*machine, error) {
	names := map[string]similarity{
		"LINEAR": similarityLinear, "POLY": similarityPoly, "RBF": similarityRBF, "SIGMOID": similaritySigmoid,
	}
	kind, ok := names[n.Text("kernel_type", "LINEAR")]
	if !ok {
		return nil, op.Invalid("kernel_type %q", n.Text("kernel_type", ""))
	}
	values := n.Floats("support_vectors")
	if len(values) == 0 || len(values)%count != 0 {
		return nil, op.Invalid("%d values of %d support vectors", len(values), count)
	}
	m := &machine{similarity: kind, vectors: count, features: len(values) / count}
	switch p := n.Floats("kernel_params"); {
	case len(p) >= 3:
		m.gamma, m.coef0, m.degree = p[0], p[1], p[2]
	case len(p) != 0 || kind != similarityLinear:
		return nil, op.Invalid("kernel_params has %d values, want 3", len(p))
	}
	if kind != similarityRBF {
		m.packed = gemm.Pack(m.features, count, values, m.features, true)
		return m, nil
	}
	m.columns = make([]float32, len(values))
	for i := range count {
		for k := range m.features {
			m.columns[k*count+i] = values[i*m.features+k]
		}
	}
	return m, nil
}

// check reports an input that the machine cannot read.
func (m *machine) check(v *op.Value) (rows int, err error) {
	if err := op.Want(v, "input", numeric...); err != nil {
		return 0, err
	}
	rows, cols, err := matrix(v)
	if err == nil && cols != m.features {
		err = op.Invalid("input of shape %v for %d features", v.Shape, m.features)
	}
	return rows, err
}

// bind makes the function that calls each with every row's number and what its
// comparison with the support vectors gave.
func (m *machine) bind(v *op.Value, rows int, s *op.Scratch) func(each func(row int, k []float32)) {
	block := min(rowsOfBlock, rows)
	load, compared, difference := floats(v), make([]float32, block*m.vectors), make([]float32, min(vectorsOfBlock, m.vectors))
	if m.packed != nil {
		s.Gemm.Reserve(block, m.packed)
	}
	return func(each func(row int, k []float32)) {
		x := load()
		for first := 0; first < rows; first += block {
			n := min(block, rows-first)
			m.compare(compared[:n*m.vectors], x[first*m.features:(first+n)*m.features], n, difference, s)
			for i := range n {
				each(first+i, compared[i*m.vectors:(i+1)*m.vectors])
			}
		}
	}
}

// compare compares rows with all support vectors.
func (m *machine) compare(dst, x []float32, rows int, difference []float32, s *op.Scratch) {
	if m.similarity == similarityRBF {
		for i := range rows {
			m.distances(dst[i*m.vectors:(i+1)*m.vectors], x[i*m.features:(i+1)*m.features], difference)
		}
		vec.MulScalar(dst, dst, -m.gamma)
		act.Exp(dst, dst)
		return
	}
	gemm.Gemm(rows, x, m.features, m.packed, dst, m.vectors, nil, &s.Gemm)
	if m.similarity == similarityLinear {
		return
	}
	vec.MulScalar(dst, dst, m.gamma)
	vec.AddScalar(dst, dst, m.coef0)
	if m.similarity == similaritySigmoid {
		act.Tanh(dst, dst)
	} else {
		power(dst, m.degree)
	}
}

// distances are the squared distances of a row from the support vectors. They are
// summed from differences, side by side for many vectors: |x|^2 + |s|^2 - 2 x.s would
// be a matrix product, but loses the distance among the lengths where rows are far
// from 0 and near each other, as dates and prices are.
func (m *machine) distances(dst, x, difference []float32) {
	for first := 0; first < m.vectors; first += vectorsOfBlock {
		sums := dst[first:min(first+vectorsOfBlock, m.vectors)]
		vec.Fill(sums, 0)
		d := difference[:len(sums)]
		for k, v := range x {
			vec.SubScalar(d, m.columns[k*m.vectors+first:], v)
			vec.MulAdd(sums, d, d, sums)
		}
	}
}

// power raises elements to a power. That of polynomials is nearly always 2 or 3, for
// which products are quicker and no less exact.
func power(list []float32, degree float32) {
	switch degree {
	case 1:
	case 2:
		vec.Mul(list, list, list)
	case 3:
		for i, x := range list {
			list[i] = float32(float64(x) * float64(x) * float64(x))
		}
	default:
		for i, x := range list {
			list[i] = float32(math.Pow(float64(x), float64(degree)))
		}
	}
}

// weigh is the sum of k weighted by w, in float64: weights of both signs cancel.
func weigh(w, k []float32) float64 {
	var a, b, c, d float64
	k = k[:len(w)]
	i := 0
	for ; i+4 <= len(w); i += 4 {
		a += float64(w[i]) * float64(k[i])
		b += float64(w[i+1]) * float64(k[i+1])
		c += float64(w[i+2]) * float64(k[i+2])
		d += float64(w[i+3]) * float64(k[i+3])
	}
	for ; i < len(w); i++ {
		a += float64(w[i]) * float64(k[i])
	}
	return (a + b) + (c + d)
}

// cost estimates the nanoseconds that rows take when each support vector is weighed
// so many times.
func (m *machine) cost(rows, weighed int) float64 {
	each := float64(m.features)/20 + 0.4*float64(weighed)
	switch m.similarity {
	case similarityRBF:
		each = float64(m.features)/6 + 0.5 + 0.4*float64(weighed)
	case similarityPoly, similaritySigmoid:
		each += 2
	}
	return float64(rows*m.vectors) * each
}

func (m *machine) describe() string {
	if m.similarity == similarityRBF {
		return "squared differences f32, exp"
	}
	return "gemm f32 with the support vectors"
}
