// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync"
	"sync/atomic"
)

// lanesMax bounds the memory of a Model, which is about 1.8 kB per lane.
const lanesMax = 32

// cacheLine is padding that keeps its neighbours off each other's cache line, and
// off the next one, which processors fetch along.
type cacheLine [128]byte

// lane is one copy of a Model's counters. All additions are atomic, so that sharing
// a lane costs time but no counts.
type lane struct {
	request, queue, input, infer, output latency

	failures     [reasonCount]atomic.Uint64
	failureNanos atomic.Uint64

	_ cacheLine
}

// laneSet hands out lanes so that a goroutine gets the one that its processor used
// last. It does so through a sync.Pool, which keeps what was put in with the
// processor that put it. A collection may empty the pool; lanes are then dealt anew.
type laneSet struct {
	count  int
	tokens []laneToken
	next   atomic.Uint32
	pool   sync.Pool
}

// laneToken stands for the lane of that index in every Model.
type laneToken struct{ index int }

// newLaneSet makes a lane for each two processors: two that share a cache line lose
// less than the way through the pool costs, so small machines do without it.
func newLaneSet(processors int) *laneSet {
	s := &laneSet{count: min(max(processors/2, 1), lanesMax)}
	s.tokens = make([]laneToken, s.count)
	for i := range s.tokens {
		s.tokens[i].index = i
	}
	s.pool.New = func() any {
		return &s.tokens[s.next.Add(1)%uint32(s.count)]
	}
	return s
}

// acquire picks a lane. Holding one is no right to it: others may have it as well.
func (s *laneSet) acquire() *laneToken {
	if s.count == 1 {
		return &s.tokens[0]
	}
	return s.pool.Get().(*laneToken)
}

func (s *laneSet) release(t *laneToken) {
	if s.count > 1 {
		s.pool.Put(t)
	}
}
