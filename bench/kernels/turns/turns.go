// SPDX-License-Identifier: Apache-2.0

// Package turns times functions against each other on one core.
//
// Contenders take turns: in every round each has one turn of some milliseconds, in an
// order that rotates, so that a machine that slows down slows all of them. Time is that
// of the thread's own CPU, where the system tells it, so that other load costs less. What
// is reported are medians over the rounds, and medians of ratios within a round.
package turns

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Contender is a function that is timed.
type Contender struct {
	Name string
	// Run does one call. An error ends the measurement.
	Run func() error
	// Work is how many units one call does: times are per unit. 0 stands for 1.
	Work float64
	// Around, when set, is called before each turn, and what it returns after it.
	Around func() (undo func())
}

// Pace says how much is measured.
type Pace struct {
	Rounds int
	// Turn is about how long each contender has in a round.
	Turn time.Duration
	// AllThreads takes the time of the process in place of the thread's own, and does
	// not keep to one thread, for contenders with goroutines of their own: to wait for
	// one costs much more on a thread that is kept.
	AllThreads bool
}

// Result holds the nanoseconds a unit of each contender in each round.
type Result struct {
	names []string
	nanos [][]float64 // by contender and round
}

// Spread is a value with the range that it had over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Measure times the contenders. It keeps to one thread of the system, unless the pace
// says otherwise.
func Measure(ctx context.Context, pace Pace, contenders ...Contender) (*Result, error) {
	if len(contenders) == 0 || pace.Rounds < 1 {
		return nil, errors.New("turns: nothing to measure")
	}
	if !pace.AllThreads {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	r := &Result{nanos: make([][]float64, len(contenders))}
	calls := make([]int, len(contenders))
	for i := range contenders {
		c := &contenders[i]
		r.names = append(r.names, c.Name)
		var err error
		if calls[i], err = c.calibrate(pace); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	for round := range pace.Rounds {
		for turn := range contenders {
			i := (round + turn) % len(contenders)
			nanos, err := contenders[i].turn(calls[i], pace.clock())
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contenders[i].Name, err)
			}
			r.nanos[i] = append(r.nanos[i], nanos/float64(calls[i])/max(contenders[i].Work, 1))
		}
	}
	return r, nil
}

// calibrate finds how many calls fill a turn. It also warms the contender up.
func (c *Contender) calibrate(pace Pace) (calls int, err error) {
	for calls = 1; ; calls *= 4 {
		nanos, err := c.turn(calls, pace.clock())
		if err != nil {
			return 0, err
		}
		if nanos >= float64(pace.Turn)/8 {
			return max(1, int(float64(calls)*float64(pace.Turn)/nanos)), nil
		}
	}
}

// clock tells the time that pace is about.
func (p Pace) clock() func() time.Duration {
	if p.AllThreads {
		return processTime
	}
	return threadTime
}

// turn is the nanoseconds that so many calls take.
func (c *Contender) turn(calls int, clock func() time.Duration) (nanos float64, err error) {
	if c.Around != nil {
		defer c.Around()()
	}
	began := clock()
	for range calls {
		if err := c.Run(); err != nil {
			return 0, err
		}
	}
	// A clock that stands still must not end the search for a number of calls.
	return max(1, float64(clock()-began)), nil
}

// Nanos is the nanoseconds a unit of a contender, 0 where there is none of that name.
func (r *Result) Nanos(name string) float64 {
	i := slices.Index(r.names, name)
	if i < 0 {
		return 0
	}
	return spreadOf(r.nanos[i]).Median
}

// Rate is the units a nanosecond of a contender.
func (r *Result) Rate(name string) Spread {
	i := slices.Index(r.names, name)
	if i < 0 {
		return Spread{}
	}
	rates := make([]float64, len(r.nanos[i]))
	for round, nanos := range r.nanos[i] {
		rates[round] = 1 / nanos
	}
	return spreadOf(rates)
}

// Medians are the nanoseconds a unit of all contenders.
func (r *Result) Medians() map[string]float64 {
	medians := make(map[string]float64)
	for i, name := range r.names {
		medians[name] = spreadOf(r.nanos[i]).Median
	}
	return medians
}

// Ratio is the time of one contender over that of another, round by round: how many
// times faster the second one is.
func (r *Result) Ratio(over, under string) Spread {
	i, j := slices.Index(r.names, over), slices.Index(r.names, under)
	if i < 0 || j < 0 {
		return Spread{}
	}
	ratios := make([]float64, len(r.nanos[i]))
	for round := range ratios {
		ratios[round] = r.nanos[i][round] / r.nanos[j][round]
	}
	return spreadOf(ratios)
}

// Difference is the time of one contender less that of another, round by round.
func (r *Result) Difference(of, less string) Spread {
	i, j := slices.Index(r.names, of), slices.Index(r.names, less)
	if i < 0 || j < 0 {
		return Spread{}
	}
	differences := make([]float64, len(r.nanos[i]))
	for round := range differences {
		differences[round] = r.nanos[i][round] - r.nanos[j][round]
	}
	return spreadOf(differences)
}

func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return Spread{}
	}
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Low: sorted[0], High: sorted[n-1]}
}
