// SPDX-License-Identifier: Apache-2.0

package window

// folder is the scratch memory of folding.
type folder struct {
	out     []byte
	entries []piece
	part    *Partial
}

// piece is an entry with its oldest time, which rules of merging look at.
type piece struct {
	entry
	oldest int64
}

func (f *folder) partial(v *View) *Partial {
	if f.part == nil {
		f.part = v.NewPartial()
	}
	f.part.Reset()
	return f.part
}

// mayMerge says whether an entry may join what has been gathered before it, which spans
// oldest to newest.
type mayMerge func(oldest, newest int64, e *piece) bool

// keepBounds folds when the state has grown enough for it, and coarsens when it must.
func (a *Aggregator) keepBounds(s *State) {
	d := &a.view.def
	full := int(s.entries) > d.EntriesMax || len(s.body) > d.BytesMax
	if s.entries < s.foldAt && !full {
		return
	}
	a.foldWith(s, a.harmless(s))
	if int(s.entries) > d.EntriesMax || len(s.body) > d.BytesMax {
		a.coarsen(s)
	}
	s.foldAt = min(uint32(d.EntriesMax), max(uint32(d.HeadEventsMax), s.entries+s.entries/2))
	s.fit()
}

// coarsen folds beyond what is harmless until a quarter of the bounds is free, so that it
// is not needed again soon. Merging pairs ends it in any case.
func (a *Aggregator) coarsen(s *State) {
	d := &a.view.def
	harmless := a.harmless(s)
	fits := func() bool { return int(s.entries) <= d.EntriesMax*3/4 && len(s.body) <= d.BytesMax/4*3 }
	for ratio := int64(64); ratio >= 2 && !fits(); ratio /= 2 {
		a.foldWith(s, func(oldest, newest int64, e *piece) bool {
			far := max(s.now-e.newest, oldest-s.now) // from now, on either side; negative across it
			return e.oldest == newest || harmless(oldest, newest, e) || e.newest-oldest <= far/ratio
		})
	}
	for !fits() && s.entries > 1 {
		odd := false
		a.foldWith(s, func(_, newest int64, e *piece) bool {
			odd = !odd
			return odd || e.oldest == newest
		})
	}
}

// harmless returns the rule that two neighbours may merge if no window at s.now or later has
// an edge between them, and if they are old and many enough not to be kept apart.
func (a *Aggregator) harmless(s *State) mayMerge {
	v, now := a.view, s.now
	cut := now - v.duplicate
	if keep := v.def.HeadEventsMax / 2; int(s.entries) > keep {
		end, newest := len(s.body), s.last
		for range keep {
			e := entryAt(s.body, end, newest)
			newest, end = newest-e.difference, e.start
		}
		cut = min(cut, newest+1)
	}
	return func(_, newest int64, e *piece) bool {
		if e.newest >= cut {
			return false
		}
		if e.oldest == newest {
			return true
		}
		for i := range v.spans {
			w := &v.spans[i]
			if edge := floor(e.oldest-1, w.hop); edge >= newest && edge >= w.tail(now) {
				return false
			}
			if e.oldest > now-w.delay {
				return false
			}
		}
		return true
	}
}

// foldWith goes over a state once, oldest entry first, merges neighbours as the rule says and
// drops what has expired.
func (a *Aggregator) foldWith(s *State, may mayMerge) {
	a.list(s)
	f := &a.folder
	f.out = f.out[:0]
	s.entries = 0
	for i := 0; i < len(f.entries); {
		n, oldest, newest := 1, f.entries[i].oldest, f.entries[i].newest
		for i+n < len(f.entries) && may(oldest, newest, &f.entries[i+n]) {
			newest = f.entries[i+n].newest
			n++
		}
		a.foldRun(s, f.entries[i:i+n])
		s.entries++
		i += n
	}
	s.body = append(s.body[:0], f.out...)
	if s.entries == 0 {
		s.last = never
	}
}

// foldRun writes neighbouring entries as one. Its distance from the entry before is that of
// the first of them, reckoned to its own newest time.
func (a *Aggregator) foldRun(s *State, run []piece) {
	f := &a.folder
	if len(run) == 1 {
		f.out = append(f.out, s.body[run[0].start:run[0].end]...)
		return
	}
	part := f.partial(a.view)
	for i := range run {
		if run[i].tile {
			part.addTile(s.body, &run[i].entry)
		} else {
			run[i].event(s.body, &a.row)
			part.addRow(&a.row)
		}
	}
	s.folded = max(s.folded, part.newest)
	f.out = part.appendTile(f.out, run[0].difference+part.newest-run[0].newest)
}

// list fills f.entries with the entries that have not expired, oldest first.
func (a *Aggregator) list(s *State) {
	f := &a.folder
	f.entries = f.entries[:0]
	expiry := a.view.expiry(s.now)
	for end, newest := len(s.body), s.last; end > 0; {
		if newest <= expiry {
			s.dropped = max(s.dropped, newest)
			break
		}
		e := entryAt(s.body, end, newest)
		f.entries = append(f.entries, piece{e, e.oldest(s.body)})
		newest, end = newest-e.difference, e.start
	}
	for i, j := 0, len(f.entries)-1; i < j; i, j = i+1, j-1 {
		f.entries[i], f.entries[j] = f.entries[j], f.entries[i]
	}
}
