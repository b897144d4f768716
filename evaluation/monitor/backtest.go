// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Logged is an event of a log: one of the two.
type Logged struct {
	Prediction *Prediction
	Outcome    *Outcome
}

// TimelineMax bounds the events of alarms that a backtest keeps.
const TimelineMax = 1_000_000

// Fired says when a detector fired.
type Fired struct {
	Subject  string
	Severity Severity
	// First is when it was raised first, Raised how often; Windows counts bad windows.
	First           int64
	Raised, Windows int
	// Reason is that of the first time.
	Reason string
}

// Tested is what a backtest found.
type Tested struct {
	// Timeline is what happened to alarms, in order. Fired sums it up by subject, those that
	// fired first in front.
	Timeline []Event
	Fired    []Fired
	Counts   Counts
	// Rejected counts events that were not sound, and FirstRejected is why the first was not.
	Rejected      int64
	FirstRejected error
	// Closed and Matured count windows.
	Closed, Matured int
}

// Backtest replays a log, in the order of arrival, and says when each detector would have
// fired. Next returns the events, false at the end. Visit, if given, gets each report.
// Windows that the log does not reach the end of are not reported: it is as if the log went
// on. The end of ctx ends it.
func Backtest(ctx context.Context, c Config, r Reference, next func() (Logged, bool, error), visit func(*Report)) (*Tested, error) {
	m, err := New(c, r)
	if err != nil {
		return nil, err
	}
	t := &Tested{}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e, ok, err := next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		reports, err := m.take(e)
		switch {
		case errors.Is(err, ErrEvent):
			if t.Rejected++; t.FirstRejected == nil {
				t.FirstRejected = err
			}
		case err != nil:
			return nil, err
		}
		if err := t.add(reports, visit); err != nil {
			return nil, err
		}
	}
	t.Counts = m.Counts()
	t.sum()
	return t, nil
}

func (m *Monitor) take(e Logged) ([]Report, error) {
	switch {
	case e.Prediction != nil:
		return m.Observe(e.Prediction)
	case e.Outcome != nil:
		return m.ObserveOutcome(e.Outcome)
	}
	return nil, fmt.Errorf("%w: it is neither a prediction nor an outcome", ErrEvent)
}

func (t *Tested) add(reports []Report, visit func(*Report)) error {
	for i := range reports {
		r := &reports[i]
		if r.Matured {
			t.Matured++
		} else {
			t.Closed++
		}
		if t.Timeline = append(t.Timeline, r.Events...); len(t.Timeline) > TimelineMax {
			return fmt.Errorf("%w: alarms changed more than %d times, take longer windows", ErrConfig, TimelineMax)
		}
		if visit != nil {
			visit(r)
		}
	}
	return nil
}

func (t *Tested) sum() {
	at := map[string]int{}
	for _, e := range t.Timeline {
		i, ok := at[e.Alarm.Subject]
		if !ok {
			i = len(t.Fired)
			at[e.Alarm.Subject] = i
			t.Fired = append(t.Fired, Fired{Subject: e.Alarm.Subject, Severity: e.Alarm.Severity, First: e.At, Reason: e.Alarm.Reason})
		}
		f := &t.Fired[i]
		if e.Change == Raised {
			f.Raised++
		}
		if e.Change != Cleared {
			f.Windows++
		}
	}
	slices.SortFunc(t.Fired, func(a, b Fired) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Subject, b.Subject))
	})
}
