// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"container/heap"
	"fmt"
	"slices"
)

// order sorts the nodes so that each follows those it waits for. Of the nodes that
// are ready the one that stands first in the file is next.
func (s *scope) order() ([]int, error) {
	waits := slices.Clone(s.waits)
	var ready indexHeap
	for i, n := range waits {
		if n == 0 {
			ready = append(ready, i) // ascending, so already a heap
		}
	}
	order := make([]int, 0, len(waits))
	for len(ready) > 0 {
		node := heap.Pop(&ready).(int)
		order = append(order, node)
		for _, reader := range s.readers[node] {
			if waits[reader]--; waits[reader] == 0 {
				heap.Push(&ready, reader)
			}
		}
	}
	if len(order) == len(waits) {
		return order, nil
	}
	for i, n := range waits {
		if n > 0 {
			return nil, s.locate(fmt.Errorf("%s waits for its own output, as part of a circle of nodes or after one", nodeName(s.graph, i)))
		}
	}
	return order, nil
}

// indexHeap gives the smallest index first.
type indexHeap []int

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(v any)        { *h = append(*h, v.(int)) }

func (h *indexHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
