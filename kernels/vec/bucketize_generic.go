// SPDX-License-Identifier: Apache-2.0

package vec

func bucketizeGeneric[D uint8 | int32](dst []D, src, edges []float32, right bool) {
	for i := range dst {
		dst[i] = D(countEdges(edges, src[i], right))
	}
}

// countEdges is how many sorted edges are below v, or, unless right, below or equal.
func countEdges(edges []float32, v float32, right bool) int {
	// The count is from base to base+n.
	base, n := 0, len(edges)
	for n > 0 {
		half := (n + 1) / 2
		edge := edges[base+half-1]
		passed := !(v < edge)
		if right {
			passed = !(v <= edge)
		}
		if passed {
			base += half
		}
		n -= half
	}
	return base
}
