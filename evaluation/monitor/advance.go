// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"slices"
	"sort"
)

// closesAt is when a window closes, maturesAt when it matures.
func (m *Monitor) closesAt(duration int, start int64) int64 {
	return start + m.config.Windows[duration].micros() + m.config.Lateness.micros()
}

func (m *Monitor) maturesAt(duration int, start int64) int64 {
	return m.closesAt(duration, start) + m.config.LabelDelay.micros()
}

// due is the closing or the maturing of a window.
type due struct {
	at       int64
	matured  bool
	duration int
	window   *window
}

func (d due) before(o due) bool {
	switch {
	case d.at != o.at:
		return d.at < o.at
	case d.matured != o.matured:
		return o.matured // what closes first, so that parts are in before the whole matures
	case d.duration != o.duration:
		return d.duration < o.duration
	}
	return d.window.Start < o.window.Start
}

// Advance moves the clock, to when nothing came until then, and returns the reports of
// windows that this closed or matured. The clock does not go back.
func (m *Monitor) Advance(to int64) ([]Report, error) {
	if to <= m.state.Clock {
		return nil, nil
	}
	m.state.Clock = to
	var reports []Report
	for {
		next, ok := m.next()
		if !ok {
			return reports, nil
		}
		var r Report
		var err error
		if next.matured {
			r, err = m.mature(next)
		} else {
			r, err = m.close(next)
		}
		if err != nil {
			return reports, err
		}
		reports = append(reports, r)
	}
}

// next finds what is due first. Windows of a duration are by start, so that the first one
// that is open, and the first one at all, are looked at.
func (m *Monitor) next() (first due, found bool) {
	for d, list := range m.state.Windows {
		open := sort.Search(len(list), func(i int) bool { return !list[i].Closed })
		if open < len(list) {
			first, found = m.sooner(first, found, due{m.closesAt(d, list[open].Start), false, d, list[open]})
		}
		if i := sort.Search(len(list), func(i int) bool { return !list[i].Matured }); i < open {
			first, found = m.sooner(first, found, due{m.maturesAt(d, list[i].Start), true, d, list[i]})
		}
	}
	return first, found
}

func (m *Monitor) sooner(first due, found bool, d due) (due, bool) {
	if d.at > m.state.Clock || found && first.before(d) {
		return first, found
	}
	return d, true
}

// close reports a window that is over, and hands it on to longer ones.
func (m *Monitor) close(d due) (Report, error) {
	w := d.window
	if d.duration == 0 {
		for longer := 1; longer < len(m.config.Windows); longer++ {
			whole := m.windowOf(longer, w.Start)
			if whole == nil {
				continue // it closed before; it cannot, as it ends later and is due later
			}
			if err := whole.Profile.Merge(w.Profile); err != nil {
				return Report{}, err
			}
			whole.Count += w.Count
			whole.Latency.merge(&w.Latency)
			for decision, count := range w.Decisions {
				whole.Decisions[decision] += count
			}
		}
		m.expire(d.at)
	}
	r, err := m.closed(d)
	w.Closed, w.Profile, w.Decisions, w.Latency = true, nil, nil, latency{}
	return r, err
}

// expire lets early outcomes go whose predictions cannot come any more.
func (m *Monitor) expire(at int64) {
	for key, e := range m.state.Early {
		if e.Arrival+m.config.Lateness.micros() < at {
			delete(m.state.Early, key)
			m.state.Counts.Unmatched++
		}
	}
}

// mature reports a window whose labels are in, and lets rows go that no window needs.
func (m *Monitor) mature(d due) (Report, error) {
	r, err := m.matured(d)
	d.window.Matured = true
	last := len(m.config.Windows) - 1
	if d.duration != last {
		return r, err
	}
	// The longest windows that begin before another's begin have matured: so has all before
	// the end of this one.
	end := d.window.Start + m.config.Windows[last].micros()
	for i, list := range m.state.Windows {
		keep := sort.Search(len(list), func(j int) bool { return list[j].Start >= end })
		if i == 0 {
			for _, w := range list[:keep] {
				for _, row := range w.Rows {
					delete(m.rows, row.Key)
				}
				m.state.Waiting -= int64(len(w.Rows))
			}
			m.widen()
		}
		m.state.Windows[i] = slices.Delete(list, 0, keep)
	}
	return r, err
}
