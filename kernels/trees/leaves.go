// SPDX-License-Identifier: Apache-2.0

package trees

// leafMode is how the leaves of a forest are kept.
type leafMode uint8

const (
	// singleLeaves: the leaves of a tree each give one value to the one target of that
	// tree, and values are summed. Trees are taken target by target.
	singleLeaves leafMode = iota
	// rowLeaves: a leaf is a row of one value for each target, and values are summed.
	rowLeaves
	// listLeaves: a leaf is whatever it was given.
	listLeaves
)

// leafTables are the leaves of a forest. Trees refer to them by where their own begin:
// leaf number i of a tree is at begin+i.
type leafTables struct {
	mode    leafMode
	targets int
	values  []float32 // singleLeaves: the values
	refs    []uint32  // otherwise: indices of leaves
	rows    []float32 // rowLeaves: by index of leaf, Targets values
	lists   []Weight  // listLeaves: of leaf i, those from offsets[i] to offsets[i+1]
	offsets []uint32
	e       *Ensemble // while the forest is compiled
}

// paddedTargets is how many targets' sums a Scratch keeps at most. Beyond that leaves are
// added to the output itself.
const paddedTargets = 512

// padded tells whether the sums of a tile are kept apart from the output, where each row
// takes sumStride values.
func (l *leafTables) padded() bool { return l.mode == rowLeaves && l.targets <= paddedTargets }

func (l *leafTables) sumStride() int { return align(l.targets, 8) }

// newLeafTables chooses the mode. targets, by tree, is nil unless leaves are single.
func newLeafTables(e *Ensemble) (l leafTables, targets []int32) {
	l = leafTables{mode: listLeaves, targets: e.Targets, e: e}
	summed := !e.Double && (e.Aggregate == Sum || e.Aggregate == Average)
	if targets = singleTargets(e); summed && targets != nil {
		l.mode = singleLeaves
		return l, targets
	}
	if summed && l.fillRows() {
		l.mode = rowLeaves
		return l, nil
	}
	l.fillLists()
	return l, nil
}

// singleTargets is the target of each tree, or nil unless every leaf of every tree has
// one weight, for the same target throughout the tree.
func singleTargets(e *Ensemble) []int32 {
	targets := make([]int32, len(e.Roots))
	var todo []int32
	for tree, root := range e.Roots {
		targets[tree] = -1
		for todo = append(todo[:0], root); len(todo) > 0; {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if at >= 0 {
				todo = append(todo, e.Nodes[at].True, e.Nodes[at].False)
				continue
			}
			w := e.Leaves[^at].Weights
			if len(w) != 1 || (targets[tree] >= 0 && targets[tree] != w[0].Target) {
				return nil
			}
			targets[tree] = w[0].Target
		}
	}
	return targets
}

// fillRows makes rows of the leaves. It reports false where rows would be mostly
// empty, or a leaf gives to a target more than once, which one addition cannot do.
func (l *leafTables) fillRows() bool {
	weights := 0
	for i := range l.e.Leaves {
		weights += len(l.e.Leaves[i].Weights)
	}
	k := l.e.Targets
	if len(l.e.Leaves)*k > 2*weights {
		return false
	}
	l.rows = make([]float32, (len(l.e.Leaves)+1)*k) // the last one gives nothing
	for i := range l.rows {
		l.rows[i] = negativeZero // adding it changes nothing, not even a -0
	}
	given := make([]int, k) // by target: one more than the leaf that gave last
	for i := range l.e.Leaves {
		row := l.rows[i*k:][:k]
		for _, w := range l.e.Leaves[i].Weights {
			if given[w.Target] == i+1 {
				l.rows = nil
				return false
			}
			given[w.Target] = i + 1
			row[w.Target] = float32(w.Value)
		}
	}
	return true
}

func (l *leafTables) fillLists() {
	l.offsets = make([]uint32, 1, len(l.e.Leaves)+1)
	for i := range l.e.Leaves {
		l.lists = append(l.lists, l.e.Leaves[i].Weights...)
		l.offsets = append(l.offsets, uint32(len(l.lists)))
	}
	l.offsets = append(l.offsets, uint32(len(l.lists))) // the last one gives nothing
}

// addTree notes the leaves of a tree, given as indices into Ensemble.Leaves or noLeaf.
// Tables of
// single values are padded for kernels that load all of a small one.
func (l *leafTables) addTree(leaves []int32) (begin uint32) {
	if l.mode != singleLeaves {
		begin = uint32(len(l.refs))
		for _, i := range leaves {
			l.refs = append(l.refs, uint32(min(int(i), len(l.e.Leaves))))
		}
		return begin
	}
	begin = uint32(len(l.values))
	for _, i := range leaves {
		v := negativeZero
		if i != noLeaf {
			v = float32(l.e.Leaves[i].Weights[0].Value)
		}
		l.values = append(l.values, v)
	}
	if n := len(leaves); n <= 64 {
		l.values = append(l.values, make([]float32, align(n, 32)-n)...)
	}
	return begin
}

// addLeaves gives to row r of to what leaf number ids[r] of the tree at begin holds,
// where leaves are not single.
func addLeaves[I uint8 | uint32, F float](f *Forest, begin uint32, ids []I, to []F, ld int) {
	l := &f.leaves
	refs := l.refs[begin:]
	if l.mode == rowLeaves {
		for r, id := range ids {
			row := l.rows[int(refs[id])*f.targets:][:f.targets]
			sums := to[r*ld:][:len(row)]
			for t, v := range row {
				sums[t] += F(v)
			}
		}
		return
	}
	for r, id := range ids {
		ref := refs[id]
		sums := to[r*ld:][:f.targets]
		for _, w := range l.lists[l.offsets[ref]:l.offsets[ref+1]] {
			give(f.aggregate, &sums[w.Target], F(w.Value))
		}
	}
}
