// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// arrival is one request: when it was due, since the start of the run, and its
// place in the order of all requests of its source.
type arrival struct {
	due time.Duration
	seq int
}

// schedule yields the due times of an open loop, in order, without looking at the
// server or the clock.
type schedule struct {
	mean   float64    // seconds between arrivals
	random *rand.Rand // nil for constant arrivals
	at     float64    // seconds since the start; exact to a microsecond after a day
	seq    int
}

func newSchedule(rate float64, arrivals Arrivals, seed uint64) *schedule {
	s := &schedule{mean: 1 / rate}
	if arrivals == Poisson {
		s.random = rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	}
	return s
}

func (s *schedule) next() arrival {
	if s.random != nil {
		s.at += s.mean * s.random.ExpFloat64()
	} else {
		s.at = s.mean * float64(s.seq+1)
	}
	a := arrival{due: time.Duration(s.at * float64(time.Second)), seq: s.seq}
	s.seq++
	return a
}

// pacer hands arrivals out when they are due. It is used by one goroutine.
type pacer struct {
	schedule *schedule
	end      time.Duration // no arrival is due at or after it
	clock    clock
	alarm    alarm
	// out takes the arrivals. A send that cannot proceed at once first tries grow.
	out chan<- arrival
	// grow finds a taker of its own for an arrival, if the bound on outstanding
	// requests allows one more.
	grow func(arrival) bool

	// overflow counts arrivals that found the bound reached and had to wait.
	overflow int64
	// unsent counts arrivals that were never handed out.
	unsent int64
}

// run paces until the schedule ends or ctx does, and closes out. When requests
// cannot be sent in time it goes on behind time: what was due stays due.
func (p *pacer) run(ctx context.Context) {
	defer close(p.out)
	for a := p.schedule.next(); a.due < p.end; a = p.schedule.next() {
		p.alarm.sleep(a.due - p.clock.now())
		if ctx.Err() != nil || !p.handOut(ctx, a) {
			p.unsent = p.countFrom(a)
			return
		}
	}
}

// handOut reports false when ctx ended before anybody took the arrival.
func (p *pacer) handOut(ctx context.Context, a arrival) bool {
	select {
	case p.out <- a:
		return true
	default:
	}
	if p.grow(a) {
		return true
	}
	p.overflow++
	select {
	case p.out <- a:
		return true
	case <-ctx.Done():
		return false
	}
}

// countFrom is the number of arrivals from a on; of random arrivals, what is to be
// expected.
func (p *pacer) countFrom(a arrival) int64 {
	return int64(math.Round((p.end - a.due).Seconds() / p.schedule.mean))
}

// source gives senders their next request. It reports false when there are no more.
type source interface {
	next() (arrival, bool)
}

// closedSource makes a request due whenever its one sender is ready for it.
type closedSource struct {
	clock clock
	end   time.Duration
	seq   int
	step  int // number of senders, so that together they go through all requests
}

func (s *closedSource) next() (arrival, bool) {
	a := arrival{due: s.clock.now(), seq: s.seq}
	s.seq += s.step
	return a, a.due < s.end
}

// openSource takes what a pacer hands out, after a first one of its own if it has it.
type openSource struct {
	first *arrival
	rest  <-chan arrival
}

func (s *openSource) next() (arrival, bool) {
	if first := s.first; first != nil {
		s.first = nil
		return *first, true
	}
	a, ok := <-s.rest
	return a, ok
}

// clock tells the time since the start of a run.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }
