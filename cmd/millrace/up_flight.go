// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
)

// flight is the requests of a replay that are not answered yet. It keeps simulated time
// from passing them: the store's clock stands at the oldest of them, so that each is
// answered as of its own moment, however fast the replay. The newest may be ahead of the
// clock by as much as the source allows its events to be.
type flight struct {
	clock *replayClock
	ahead int64 // microseconds

	mu struct {
		sync.Mutex
		changed *sync.Cond
		// times and done are rings; requests head to tail are not answered, or wait for an
		// older one to be.
		times      []int64
		done       []bool
		head, tail int
	}
}

// flightMax bounds the requests that are not answered.
const flightMax = 256

func newFlight(clock *replayClock, ahead int64) *flight {
	f := &flight{clock: clock, ahead: ahead}
	f.mu.changed = sync.NewCond(&f.mu.Mutex)
	f.mu.times, f.mu.done = make([]int64, flightMax), make([]bool, flightMax)
	return f
}

// begin waits for room for a request of a moment, and takes it. It returns the request's
// place, or -1 when ctx ended.
func (f *flight) begin(ctx context.Context, t int64) int {
	wake := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.changed.Broadcast()
	})
	defer wake()
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &f.mu
	for ctx.Err() == nil && (m.tail-m.head == flightMax || m.tail > m.head && t-m.times[m.head%flightMax] > f.ahead) {
		m.changed.Wait()
	}
	if ctx.Err() != nil {
		return -1
	}
	place := m.tail
	m.times[place%flightMax], m.done[place%flightMax] = t, false
	m.tail++
	f.clock.allow(m.times[m.head%flightMax])
	return place
}

// end says that a request was answered.
func (f *flight) end(place int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &f.mu
	m.done[place%flightMax] = true
	for m.head < m.tail && m.done[m.head%flightMax] {
		m.head++
	}
	f.clock.allow(m.times[min(m.head, m.tail-1)%flightMax])
	m.changed.Broadcast()
}

// wait waits until all requests are answered; false if ctx ended before.
func (f *flight) wait(ctx context.Context) bool {
	wake := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.changed.Broadcast()
	})
	defer wake()
	f.mu.Lock()
	defer f.mu.Unlock()
	for ctx.Err() == nil && f.mu.head < f.mu.tail {
		f.mu.changed.Wait()
	}
	return ctx.Err() == nil
}

// answered is up to which moment everything was answered, 0 before the first request.
func (f *flight) answered() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m := &f.mu; {
	case m.tail == 0:
		return 0
	case m.head == m.tail:
		return m.times[(m.tail-1)%flightMax]
	default:
		return m.times[m.head%flightMax]
	}
}
