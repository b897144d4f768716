// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"slices"
	"sync"
)

// responsesMax bounds how many responses to one request are told apart. Later ones
// are counted with the last.
const responsesMax = 1024

// firstResponseBoundsMillis are the bounds of the histogram of first responses.
var firstResponseBoundsMillis = [...]uint64{100, 500, 2000, 5000}

// responses counts the responses of a decoupled model by their index. A response
// of such a model is an event of its own on the wire, beside which a lock is cheap.
type responses struct {
	mu struct {
		sync.Mutex
		byIndex []Duration
		// first counts first responses by bucket, the last one unbounded.
		first [len(firstResponseBoundsMillis) + 1]uint64
	}
}

func (r *responses) add(index int, elapsedNanos int64) {
	index = min(max(index, 0), responsesMax-1)
	elapsed := uint64(max(elapsedNanos, 0))
	r.mu.Lock()
	defer r.mu.Unlock()
	if missing := index + 1 - len(r.mu.byIndex); missing > 0 {
		r.mu.byIndex = append(r.mu.byIndex, make([]Duration, missing)...)
	}
	r.mu.byIndex[index].Count++
	r.mu.byIndex[index].Nanos += elapsed
	if index == 0 {
		r.mu.first[firstResponseBucket(elapsed)]++
	}
}

func firstResponseBucket(nanos uint64) int {
	for i, bound := range firstResponseBoundsMillis {
		if nanos <= bound*1e6 {
			return i
		}
	}
	return len(firstResponseBoundsMillis)
}

func (r *responses) snapshot() []Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.byIndex)
}

// firstResponses is the cumulative histogram in milliseconds, its count and sum.
func (r *responses) firstResponses() (buckets map[float64]uint64, first Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.byIndex) == 0 {
		return nil, Duration{}
	}
	buckets = make(map[float64]uint64, len(firstResponseBoundsMillis))
	cumulative := uint64(0)
	for i, bound := range firstResponseBoundsMillis {
		cumulative += r.mu.first[i]
		buckets[float64(bound)] = cumulative
	}
	return buckets, r.mu.byIndex[0]
}
