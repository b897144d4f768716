// SPDX-License-Identifier: Apache-2.0

package trees

// tileCost is what a tile of the least size costs, in ns, however few of its rows are
// used. The figures were measured on a Zen 4 at 3.7 GHz, on ensembles of 100 to 1000
// trees of 31 and 255 leaves; only their ratio to rowCost's matters.
type tileCost struct {
	column, node float64
	leaves       int // of a tree at most: walks are faster in larger ones
}

// fewRows estimates up to how many rows are better evaluated one after another.
func (f *Forest) fewRows() int {
	columns, nodes := 0, 0
	for i := range f.blocks {
		columns += len(f.blocks[i].truth.columns)
		nodes += len(f.blocks[i].nodes)
	}
	cost := minTileCost()
	tile := cost.column*float64(columns) + cost.node*float64(nodes)
	return min(max(int(tile/f.rowCost(nodes)), fewRowsMin), fewRowsMax)
}

// The bounds of what fewRows may say, whatever the estimate.
const (
	fewRowsMin = 4
	fewRowsMax = 32
)

// rowCost is what one row costs, in ns, of trees with that many nodes in all: those of
// a large forest come from beyond the second cache each time.
func (f *Forest) rowCost(nodes int) float64 {
	const nodesCached = 64 << 10
	cost := 185 + 0.9*float64(f.trees) + 0.02*float64(nodes) // in lanes
	if f.rows.spans == nil {
		cost = 100 + 11*float64(f.trees) + 0.05*float64(nodes)
	}
	if f.leaves.mode != singleLeaves {
		cost += 10 * float64(f.trees)
	}
	return cost + 0.09*float64(max(nodes-nodesCached, 0))
}
