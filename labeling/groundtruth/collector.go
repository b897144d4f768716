// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// ItemsMax is how many pieces of feedback one Submit takes.
const ItemsMax = 10_000

// Options are how a collector works. The zero value of every field but Log is sensible.
type Options struct {
	// Log is where feedback goes. It stays the caller's.
	Log *offline.Log
	// Labels are known definitions: feedback of their name and kind must have their type.
	Labels []*Definition
	// FutureMax is how far an event time may lie after its arrival, for clocks that
	// differ: 0 is 5 minutes, at most a day.
	FutureMax time.Duration
	// SeenMax bounds the feedback ids remembered to tell repeats, at about 100 bytes each:
	// 0 is 1<<20, at least 2. A repeat of one that was forgotten is stored as another
	// version with the same content, and changes no label.
	SeenMax int
	// SeenAge is how old, by event time, the feedback is that is remembered again after a
	// restart: 0 is 30 days.
	SeenAge time.Duration
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.FutureMax == 0 {
		o.FutureMax = 5 * time.Minute
	}
	if o.SeenMax == 0 {
		o.SeenMax = 1 << 20
	}
	if o.SeenAge == 0 {
		o.SeenAge = 30 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var all []error
	wrong := func(bad bool, format string, values ...any) {
		if bad {
			all = append(all, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, values...)...))
		}
	}
	wrong(o.Log == nil, "log: must be given")
	wrong(o.FutureMax < 0 || o.FutureMax > 24*time.Hour, "future max %v: is not between 0 and a day", o.FutureMax)
	wrong(o.SeenMax < 2, "seen max %d: is less than 2", o.SeenMax)
	wrong(o.SeenAge < 0, "seen age %v: is negative", o.SeenAge)
	return errors.Join(all...)
}

// Collector takes feedback into the event log. It may be used by many goroutines.
type Collector struct {
	options Options
	stream  *offline.Stream

	mu struct {
		sync.Mutex
		seen  seen
		last  int64 // latest arrival given
		stats CollectorStats
	}
}

// CollectorStats counts what came since the collector was opened.
type CollectorStats struct {
	// Accepted was stored, Duplicates were there already, Refused can never be taken,
	// Failed may be sent again. Conflicts are the refused for a used id.
	Accepted, Duplicates, Refused, Failed, Conflicts int64
	// Seen is how many feedback ids are remembered.
	Seen int
}

// OpenCollector declares OutcomeStream and remembers the feedback ids of SeenAge.
func OpenCollector(ctx context.Context, o Options) (*Collector, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	stream, err := o.Log.Declare(OutcomeSchema())
	if err != nil {
		return nil, err
	}
	c := &Collector{options: o, stream: stream}
	c.mu.seen = newSeen(o.SeenMax)
	if err := c.remember(ctx); err != nil {
		return nil, fmt.Errorf("remember feedback ids: %w", err)
	}
	return c, nil
}

// remember reads back which feedback is there.
func (c *Collector) remember(ctx context.Context) error {
	scan, err := c.options.Log.Scan(ctx, offline.Query{Stream: OutcomeStream, Columns: outcomeNames(), Versions: offline.AllVersions,
		From: max(0, micros(c.options.Now().Add(-c.options.SeenAge)))})
	if err != nil {
		return err
	}
	defer scan.Close()
	var o Outcome
	for scan.Next() {
		if err := decodeOutcome(scan.Record(), &o); err != nil {
			return err
		}
		c.mu.last = max(c.mu.last, o.Arrival)
		p := o.fingerprint(o.Timed)
		v := sighting{content: p.content, target: p.target, sequence: o.Sequence}
		if old, ok := c.mu.seen.get(p.id); ok && old.sequence > v.sequence {
			c.mu.seen.put(versionKey(p.id, v.content), v)
			continue
		}
		c.mu.seen.replace(p.id, v)
	}
	return scan.Err()
}

// Status is what became of a piece of feedback.
type Status uint8

const (
	// StatusRefused was not taken: see Result.Err.
	StatusRefused Status = iota
	// StatusAccepted is stored.
	StatusAccepted
	// StatusDuplicate was stored before.
	StatusDuplicate
)

// Result says what became of one piece of feedback.
type Result struct {
	// FeedbackID is the one it has, given or made.
	FeedbackID string
	Status     Status
	// Err is why it was refused; Retryable says that it may be taken when sent again.
	Err       error
	Retryable bool
}

// Submit stores feedback: what it reports as accepted or duplicate survives a crash.
// A correction that equals an earlier version of its id is a repeat of that version: to
// return to it, give another reason. Each item stands for itself, and the results are in the order of the items. The error
// is about all of them: ErrInvalid for more than ItemsMax.
func (c *Collector) Submit(ctx context.Context, items []Feedback) ([]Result, error) {
	if len(items) > ItemsMax {
		return nil, fmt.Errorf("%w: %d pieces of feedback, at most %d at once", ErrInvalid, len(items), ItemsMax)
	}
	results := make([]Result, len(items))
	b := batch{results: results}
	c.append(ctx, items, &b)
	if b.wait > 0 {
		if err := c.options.Log.WaitDurable(ctx, b.wait); err != nil {
			for i := range results {
				if results[i].Err == nil {
					results[i] = Result{FeedbackID: results[i].FeedbackID, Err: fmt.Errorf("%w: %w", ErrUnavailable, err), Retryable: true}
				}
			}
		}
	}
	c.count(results)
	return results, nil
}

func (c *Collector) count(results []Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.mu.stats
	for i := range results {
		switch r := &results[i]; {
		case r.Status == StatusAccepted:
			s.Accepted++
		case r.Status == StatusDuplicate:
			s.Duplicates++
		case r.Retryable:
			s.Failed++
		default:
			s.Refused++
			if errors.Is(r.Err, ErrConflict) {
				s.Conflicts++
			}
		}
	}
}

// Stats are the counts.
func (c *Collector) Stats() CollectorStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.mu.stats
	s.Seen = c.mu.seen.len()
	return s
}

// batch is what one Submit appends.
type batch struct {
	results []Result
	records []offline.Record
	prints  []fingerprints
	mine    map[[16]byte]int // records, by feedback id
	wait    uint64           // sequence to be durable
}

// appendBytes is about how many bytes go into the log's queue at once.
const appendBytes = 256 << 10

// append checks the items and appends those that are new. The order in the log is that
// in which ids are checked, hence the lock around both.
func (c *Collector) append(ctx context.Context, items []Feedback, b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.mine = make(map[[16]byte]int, len(items))
	arrival := max(micros(c.options.Now()), c.mu.last)
	c.mu.last = arrival
	for i := range items {
		f := items[i] // completed without touching the caller's
		err := c.takeLocked(&f, arrival, i, b)
		b.results[i].FeedbackID = f.ID
		if err != nil {
			b.results[i].Err = err
		}
	}
	for begin := 0; begin < len(b.records); {
		end, size := begin, 0
		for end < len(b.records) && (end == begin || size < appendBytes) {
			r := &b.records[end]
			size += 512 + len(r.Values[outText].Text()) + len(r.Values[outReason].Text()) + len(r.Values[outEntity].Text())
			end++
		}
		if err := c.appendLocked(ctx, b, begin, end); err != nil {
			b.fail(begin, err)
			return
		}
		begin = end
	}
}

// appendLocked appends some of the records and remembers them. c.mu must be held.
func (c *Collector) appendLocked(ctx context.Context, b *batch, begin, end int) error {
	var first uint64
	var err error
	if end == begin+1 {
		first, err = c.stream.AppendSequence(ctx, &b.records[begin])
	} else {
		first, err = c.stream.AppendBatch(ctx, b.records[begin:end])
	}
	if err != nil {
		return err
	}
	for n := begin; n < end; n++ {
		p := &b.prints[n]
		c.mu.seen.replace(p.id, sighting{content: p.content, target: p.target, sequence: first + uint64(n-begin)})
	}
	b.wait = max(b.wait, first+uint64(end-begin)-1)
	return nil
}

// fail marks the items of the records from one on, and the repeats of them.
func (b *batch) fail(from int, err error) {
	failed := Result{Err: fmt.Errorf("%w: %w", ErrUnavailable, err), Retryable: !errors.Is(err, offline.ErrInvalidRecord)}
	for i := range b.results {
		r := &b.results[i]
		if r.Err != nil {
			continue
		}
		if n, ok := b.mine[idHash(r.FeedbackID)]; ok && n >= from {
			id := r.FeedbackID
			*r = failed
			r.FeedbackID = id
		}
	}
}

func idHash(id string) (h [16]byte) {
	sum := sumOf(id)
	copy(h[:], sum[:])
	return h
}

// takeLocked decides about one item. c.mu must be held.
func (c *Collector) takeLocked(f *Feedback, arrival int64, item int, b *batch) error {
	timed := f.EventTime != 0
	if err := f.check(); err != nil {
		return err
	}
	if !timed {
		f.EventTime = arrival
	}
	if lead := f.EventTime - arrival; lead > c.options.FutureMax.Microseconds() {
		return fmt.Errorf("%w: event_time: is %v in the future, at most %v", ErrInvalid, time.Duration(min(lead, int64(time.Hour*24*36500)/1000))*time.Microsecond, c.options.FutureMax)
	}
	if err := c.checkType(f); err != nil {
		return err
	}
	p := f.fingerprint(timed)
	old, known := c.mu.seen.get(p.id)
	if n, ok := b.mine[p.id]; ok {
		old, known = sighting{content: b.prints[n].content, target: b.prints[n].target}, true
	}
	if v, ok := c.mu.seen.get(versionKey(p.id, p.content)); ok && known {
		old = v // a version that was corrected since, sent once more
	}
	switch {
	case known && old.content == p.content:
		b.results[item].Status = StatusDuplicate
		b.wait = max(b.wait, old.sequence) // it counts once that one is durable
		return nil
	case known && old.target != p.target:
		return fmt.Errorf("%w: feedback_id %.80q: was used for another prediction, entity, time or name; take another id", ErrConflict, f.ID)
	case known && f.Kind != KindCorrection:
		return fmt.Errorf("%w: feedback_id %.80q: was used with other content; to change it send a correction", ErrConflict, f.ID)
	}
	b.mine[p.id] = len(b.records)
	b.prints = append(b.prints, p)
	b.records = append(b.records, f.record(p.target, timed, arrival))
	b.results[item].Status = StatusAccepted
	return nil
}

// checkType holds feedback to the definitions of its name.
func (c *Collector) checkType(f *Feedback) error {
	for _, d := range c.options.Labels {
		if d.Outcome == f.Name && (d.Kind == f.Kind || f.Kind == KindCorrection) && d.Type != TypeNull && f.Value.Type != TypeNull && f.Value.Type != d.Type {
			return fmt.Errorf("%w: value: is a %v, and label %s takes a %v", ErrInvalid, f.Value.Type, d.Name, d.Type)
		}
	}
	return nil
}

// sighting is what is remembered of a feedback id.
type sighting struct {
	content  [16]byte
	target   [8]byte
	sequence uint64
}

// seen remembers feedback ids in two generations: when the young one is full it becomes
// the old one, and what was the old one is forgotten.
type seen struct {
	young, old map[[16]byte]sighting
	limit      int // of a generation
}

func newSeen(limit int) seen { return seen{young: map[[16]byte]sighting{}, limit: limit / 2} }

func (s *seen) get(id [16]byte) (sighting, bool) {
	if v, ok := s.young[id]; ok {
		return v, true
	}
	v, ok := s.old[id]
	return v, ok
}

func (s *seen) put(id [16]byte, v sighting) {
	if _, ok := s.young[id]; !ok && len(s.young) >= s.limit {
		s.old, s.young = s.young, make(map[[16]byte]sighting, s.limit/8)
	}
	s.young[id] = v
}

// replace puts the newest version of an id, and remembers that it had the one before.
func (s *seen) replace(id [16]byte, v sighting) {
	if old, ok := s.get(id); ok && old.content != v.content {
		s.put(versionKey(id, old.content), old)
	}
	s.put(id, v)
}

// versionKey stands for a version that was replaced.
func versionKey(id, content [16]byte) [16]byte { return idHash(string(id[:]) + string(content[:])) }

func (s *seen) len() int { return len(s.young) + len(s.old) }
