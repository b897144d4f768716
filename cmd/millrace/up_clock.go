// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// replayClock is the clock of a store whose history is replayed: it runs at a multiple
// of real time, but not beyond the oldest request that is not answered, see flight.
// Without a replay it is the machine's.
//
// now and allow may be called from many goroutines; the rest belongs to the replay.
type replayClock struct {
	pace  atomic.Pointer[pace]
	limit atomic.Int64 // microseconds; now is not after it
}

// pace says how simulated time runs on from a moment.
type pace struct {
	simulated, real time.Time
	// speed is simulated over real time; 0 is none: time is what limit says.
	speed float64
}

// machineClock is a clock that is the machine's.
func machineClock() *replayClock { return &replayClock{} }

// newReplayClock stands at a moment until the replay begins.
func newReplayClock(at time.Time) *replayClock {
	c := &replayClock{}
	c.limit.Store(at.UnixMicro())
	c.pace.Store(&pace{simulated: at, real: time.Now()})
	return c
}

func (c *replayClock) now() time.Time {
	p := c.pace.Load()
	if p == nil {
		return time.Now()
	}
	limit := c.limit.Load()
	if p.speed == 0 {
		return time.UnixMicro(limit).UTC()
	}
	return time.UnixMicro(min(p.at(time.Now()), limit)).UTC()
}

// at is the simulated time of a real one, in microseconds.
func (p *pace) at(real time.Time) int64 {
	return p.simulated.UnixMicro() + int64(float64(real.Sub(p.real))*p.speed)/1000
}

// run goes on from now at another speed, up to a limit.
func (c *replayClock) run(speed float64, limit int64) {
	c.pace.Store(&pace{simulated: c.now(), real: time.Now(), speed: speed})
	c.limit.Store(limit)
}

// again goes on from now at the same speed: what a pause has taken is not caught up with.
func (c *replayClock) again() {
	c.pace.Store(&pace{simulated: c.now(), real: time.Now(), speed: c.pace.Load().speed})
}

// free goes on from now at the machine's speed, without a limit.
func (c *replayClock) free() { c.run(1, math.MaxInt64) }

// allow lets time run up to a moment; it does not go back.
func (c *replayClock) allow(limit int64) {
	for {
		old := c.limit.Load()
		if limit <= old || c.limit.CompareAndSwap(old, limit) {
			return
		}
	}
}

// wait waits until it is time for an event, by the pace alone. A replay that is behind
// its pace does not wait.
func (c *replayClock) wait(ctx context.Context, t int64) error {
	p := c.pace.Load()
	if p.speed == 0 {
		return ctx.Err()
	}
	ahead := float64(t-p.at(time.Now())) / p.speed // microseconds
	if ahead <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(min(ahead*1000, math.MaxInt64/2)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
