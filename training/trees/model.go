// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/millrace-ml/millrace/kernels/trees"
	"github.com/millrace-ml/millrace/training/learn"
)

// set is a set of categories, a bit for each code.
type set []uint64

func setOf(codes []int32) set {
	var s set
	for _, code := range codes {
		for int(code)/64 >= len(s) {
			s = append(s, 0)
		}
		s[code/64] |= 1 << (code % 64)
	}
	return s
}

// members are the categories of the set, ascending.
func (s set) members() (codes []float64) {
	for i := range len(s) * 64 {
		if s[i/64]>>(i%64)&1 == 1 {
			codes = append(codes, float64(i))
		}
	}
	return codes
}

// has reports whether the set has the category of a value.
func (s set) has(x float32) bool {
	code, ok := codeOf(x, len(s)*64)
	return ok && s[code/64]>>(code%64)&1 == 1
}

// model implements learn.Model. The trees of a round follow each other, one for each
// output.
type model struct {
	features []learn.Feature
	base     []float32
	trees    []tree
	sets     []set
	gains    []float64
	// forest is nil where there are no trees, or more than the kernels take.
	forest  *trees.Forest
	scratch sync.Pool
}

var _ learn.Model = (*model)(nil)

func newModel(features []learn.Feature, base []float32) *model {
	return &model{features: features, base: base}
}

// finish makes what depends on the trees that were kept.
func (m *model) finish() {
	if len(m.trees) > 0 {
		if forest, err := m.compile(); err == nil {
			m.forest = forest
		}
	}
	m.gains = make([]float64, len(m.features))
	for _, t := range m.trees {
		for _, n := range t {
			if n.feature >= 0 {
				m.gains[n.feature] += float64(n.gain)
			}
		}
	}
}

// Outputs implements learn.Model.
func (m *model) Outputs() int { return len(m.base) }

// Importance implements learn.Model: the gains of all splits, by feature.
func (m *model) Importance() []float64 { return append([]float64(nil), m.gains...) }

// Describe implements learn.Model.
func (m *model) Describe() string {
	depth, leaves := 0, 0
	for _, t := range m.trees {
		depth, leaves = max(depth, t.depth()), leaves+t.leaves()
	}
	return fmt.Sprintf("%d trees, depth %d at most, %d leaves", len(m.trees), depth, leaves)
}

// predictRows is how many rows are put in rows of a matrix, and predicted, together.
const predictRows = 2048

// Predict implements learn.Model.
func (m *model) Predict(values [][]float32, to []float32) {
	rows, outputs := len(to)/len(m.base), len(m.base)
	blocks := (rows + predictRows - 1) / predictRows
	parallel(runtime.GOMAXPROCS(0), blocks, func(b int) {
		lo, hi := b*predictRows, min((b+1)*predictRows, rows)
		m.predict(values, lo, hi, to[lo*outputs:hi*outputs])
	})
}

func (m *model) predict(values [][]float32, lo, hi int, to []float32) {
	width, outputs := len(m.features), len(m.base)
	matrix := make([]float32, (hi-lo)*width)
	for f, column := range values {
		for i, x := range column[lo:hi] {
			matrix[i*width+f] = x
		}
	}
	if m.forest == nil {
		for i := range hi - lo {
			m.walk(matrix[i*width:(i+1)*width], to[i*outputs:(i+1)*outputs])
		}
		return
	}
	s, ok := m.scratch.Get().(*trees.Scratch)
	if !ok {
		s = m.forest.NewScratch()
	}
	m.forest.Predict(matrix, width, hi-lo, to, outputs, s)
	m.scratch.Put(s)
}

// compile lays the trees out for the kernels, which predict what walk does, to the bit.
func (m *model) compile() (*trees.Forest, error) {
	e := &trees.Ensemble{Features: len(m.features), Targets: len(m.base)}
	for _, b := range m.base {
		e.Base = append(e.Base, float64(b))
	}
	for k, t := range m.trees {
		e.Roots = append(e.Roots, m.describe(e, t, 0, int32(k%len(m.base))))
	}
	return trees.Compile(e)
}

// describe adds a node and what is below it to an ensemble, and returns where it is.
func (m *model) describe(e *trees.Ensemble, t tree, at, target int32) int32 {
	n := &t[at]
	if n.feature < 0 {
		e.Leaves = append(e.Leaves, trees.Leaf{Weights: []trees.Weight{{Target: target, Value: float64(n.value)}}})
		return ^int32(len(e.Leaves) - 1)
	}
	place := int32(len(e.Nodes))
	made := trees.Node{Feature: n.feature, Threshold: float64(n.threshold), MissingTrue: n.missingLeft}
	if n.set >= 0 {
		made.Compare, made.Members = trees.Member, m.sets[n.set].members()
	}
	e.Nodes = append(e.Nodes, made)
	left := m.describe(e, t, n.left, target)
	right := m.describe(e, t, n.left+1, target)
	e.Nodes[place].True, e.Nodes[place].False = left, right
	return place
}

// walk is Predict of one row, node by node.
func (m *model) walk(row, to []float32) {
	clear(to)
	for k, t := range m.trees {
		to[k%len(to)] += m.leaf(t, row)
	}
	for k, b := range m.base {
		to[k] += b
	}
}

// leaf returns the value of the leaf that a row falls in.
func (m *model) leaf(t tree, row []float32) float32 {
	n := &t[0]
	for n.feature >= 0 {
		x := row[n.feature]
		left := x <= n.threshold
		if n.set >= 0 {
			left = m.sets[n.set].has(x)
		} else if x != x {
			left = n.missingLeft
		}
		next := n.left + 1
		if left {
			next = n.left
		}
		n = &t[next]
	}
	return n.value
}
