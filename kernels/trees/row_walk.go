// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"unsafe"
)

// walkTogether is how many trees are walked beside one another: the nodes of one are
// loaded while another's are waited for.
const walkTogether = 8

// rowNode is a node of 8 bytes. The walk goes on to the node child further when the
// value is less than bound, and to the one behind that otherwise. A leaf's child is
// 0 and its bound a NaN that holds the leaf's number in the tree, so that a walk which
// has arrived stays.
type rowNode struct {
	bound  float32
	column uint16
	child  uint16
}

// The limits of a rowNode.
const (
	walkColumnsMax = 1 << 16
	walkChildMax   = 1<<16 - 1
	walkLeafBits   = 1<<22 - 1
	quietNaN       = 0x7fc00000
)

// rowWalk is the trees as nodes to walk.
type rowWalk struct {
	nodes []rowNode
	roots []uint32 // padded with a leaf to a multiple of walkTogether
	first []uint32 // leaf 0 of each tree
	words []uint32 // by leaf: see rowWords
	// columns are the values that nodes compare: twice the feature, and one more for its
	// negative. "Less than bound" of negatives is how missing values go to the right.
	// Column 0, of leaves, is nothing.
	columns []uint32

	// While laying out.
	leaves []int32
	places map[uint32]int // in columns
}

// rowWalkOf lays out trees; nil where a tree does not fit the form.
func rowWalkOf(e *Ensemble, sizes childCounts, t *rowWords) *rowWalk {
	w := &rowWalk{columns: []uint32{0}, places: map[uint32]int{}}
	for _, root := range e.Roots {
		first := len(w.leaves)
		w.first = append(w.first, uint32(first))
		w.roots = append(w.roots, uint32(len(w.nodes)))
		if !w.add(e, root, sizes) || len(w.nodes) > math.MaxUint32 {
			return nil
		}
	}
	for pad := uint32(len(w.nodes)); len(w.roots)%walkTogether != 0; w.roots = append(w.roots, pad) {
		if int(pad) == len(w.nodes) {
			w.nodes = append(w.nodes, leafNode(0))
		}
	}
	w.words = make([]uint32, len(w.leaves))
	for i, leaf := range w.leaves {
		w.words[i] = t.of(leaf)
	}
	w.leaves, w.places = nil, nil
	return w
}

func leafNode(number int) rowNode {
	return rowNode{bound: math.Float32frombits(quietNaN | uint32(number))}
}

// hopNode is a node from which both ways lead to one.
func hopNode(child int) rowNode { return rowNode{bound: nan32, child: uint16(child)} }

// walkWork is a node that is to be written at index.
type walkWork struct {
	at    int32
	index int
}

// add lays out one tree: below a pair of siblings first what is below the one with
// fewer leaves, which keeps children near.
func (w *rowWalk) add(e *Ensemble, root int32, sizes childCounts) bool {
	first := len(w.leaves)
	w.nodes = append(w.nodes, rowNode{})
	work := []walkWork{{root, len(w.nodes) - 1}}
	for len(work) > 0 {
		at, index := work[len(work)-1].at, work[len(work)-1].index
		work = work[:len(work)-1]
		if at < 0 {
			w.nodes[index] = leafNode(len(w.leaves) - first)
			w.leaves = append(w.leaves, ^at)
			continue
		}
		s, known := rowSplitOf(&e.Nodes[at])
		left, right, ok := w.place(&s, index)
		if !known || !ok || len(w.leaves)-first > walkLeafBits {
			return false
		}
		near, far := walkWork{s.left, left}, walkWork{s.right, right}
		if sizes.of(s.right) < sizes.of(s.left) {
			near, far = far, near
		}
		work = append(work, far, near)
	}
	return true
}

// place writes the nodes of a split and says where its branches go.
func (w *rowWalk) place(s *rowSplit, index int) (left, right int, ok bool) {
	if !s.equal {
		return w.pair(s, index)
	}
	less, more := s.lessOrMore()
	// Not less goes on to more, so what is missing takes the other way here.
	hop, next, ok1 := w.pair(&less, index)
	left, right, ok2 := w.pair(&more, next)
	if right-hop > walkChildMax {
		return 0, 0, false
	}
	w.nodes[hop] = hopNode(right - hop)
	return left, right, ok1 && ok2
}

// pair writes one node, whose children are appended.
func (w *rowWalk) pair(s *rowSplit, index int) (left, right int, ok bool) {
	left = len(w.nodes)
	right = left + 1
	if left-index > walkChildMax {
		return 0, 0, false
	}
	w.nodes = append(w.nodes, rowNode{}, rowNode{})
	column, bound := uint32(s.feature)*2, s.bound
	if s.missingRight {
		// "At least bound or missing" is: not "negated, at least the next above -bound".
		column++
		bound = float32(math.Inf(-1))
		if s.bound == s.bound {
			bound = above32(-s.bound)
		}
	}
	place, known := w.places[column]
	if !known {
		place = len(w.columns)
		w.columns, w.places[column] = append(w.columns, column), place
	}
	w.nodes[index] = rowNode{bound: bound, column: uint16(place), child: uint16(left - index)}
	if s.missingRight {
		left, right = right, left
	}
	return left, right, place < walkColumnsMax
}

// predictWalk evaluates one row.
func (f *rowForest) predictWalk(x, out []float32, s *rowScratch) {
	w := f.walk
	for i, column := range w.columns[1:] {
		v := math.Float32bits(x[column/2]) ^ column<<31
		s.walk[i+1] = math.Float32frombits(v)
	}
	walkGeneric(w.nodes, w.roots, s.walk, s.slots)
	words := s.slots[:len(w.first)]
	for i, first := range w.first {
		words[i] = w.words[first+words[i]]
	}
	if f.words.single {
		out[0] = addWords(words, 0)
	} else {
		begin(f.words.aggregate, out)
		f.words.give(words, out)
	}
	f.words.finish(out)
}

// walkGeneric walks trees from roots, a multiple of walkTogether of them, and writes
// the number of the leaf where each arrives. It has no branch that depends on a value
// but for how many rounds eight trees need.
func walkGeneric(nodes []rowNode, roots []uint32, x []float32, slots []uint32) {
	base, row := unsafe.Pointer(unsafe.SliceData(nodes)), unsafe.Pointer(unsafe.SliceData(x))
	for i := 0; i+walkTogether <= len(roots); i += walkTogether {
		r := (*[walkTogether]uint32)(roots[i:])
		n0, n1, n2, n3 := at(base, r[0]), at(base, r[1]), at(base, r[2]), at(base, r[3])
		n4, n5, n6, n7 := at(base, r[4]), at(base, r[5]), at(base, r[6]), at(base, r[7])
		for {
			c0, c1, c2, c3 := n0.child, n1.child, n2.child, n3.child
			c4, c5, c6, c7 := n4.child, n5.child, n6.child, n7.child
			if c0|c1|c2|c3|c4|c5|c6|c7 == 0 {
				break
			}
			n0, n1, n2, n3 = next(n0, row), next(n1, row), next(n2, row), next(n3, row)
			n4, n5, n6, n7 = next(n4, row), next(n5, row), next(n6, row), next(n7, row)
		}
		out := (*[walkTogether]uint32)(slots[i:])
		out[0], out[1], out[2], out[3] = n0.leaf(), n1.leaf(), n2.leaf(), n3.leaf()
		out[4], out[5], out[6], out[7] = n4.leaf(), n5.leaf(), n6.leaf(), n7.leaf()
	}
}

func at(base unsafe.Pointer, index uint32) *rowNode {
	return (*rowNode)(unsafe.Add(base, uintptr(index)*unsafe.Sizeof(rowNode{})))
}

// next is the node that a row goes on to.
func next(n *rowNode, row unsafe.Pointer) *rowNode {
	right := uintptr(0)
	if *(*float32)(unsafe.Add(row, uintptr(n.column)*4)) >= n.bound {
		right = 1
	}
	return (*rowNode)(unsafe.Add(unsafe.Pointer(n), (uintptr(n.child)+right)*unsafe.Sizeof(rowNode{})))
}

func (n *rowNode) leaf() uint32 { return math.Float32bits(n.bound) & walkLeafBits }
