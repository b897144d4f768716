// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// LiveOptions are how a live join works. Log, Label and Dir must be given.
type LiveOptions struct {
	// Log is what is followed. It stays the caller's.
	Log *offline.Log
	// Label says which feedback counts, and whose predictions are joined.
	Label *Definition
	// Dir is a folder for this join alone. What is in it is scratch: it is emptied when
	// the join is opened and when it is closed.
	Dir string
	// Columns of the predictions for Row.Extra, for example VectorColumns.
	Columns []string
	// LabelsOnly is for who wants feedback alone: rows have nothing but the id and the times of
	// the prediction and its label, and a prediction that matures without any feedback is not
	// handed out. Nothing else is kept of predictions but the facts that name an entity.
	LabelsOnly bool
	// Late is for how long after its window a prediction still takes corrections: 0 is as
	// long as the window, at most WindowMax. Later ones show in Join alone.
	Late time.Duration
	// PredictionsMax bounds the predictions in memory, at 60 bytes each, and 30 more with
	// Definition.Entity: 0 is 16M. Beyond it those that are due first go early, counted.
	PredictionsMax int
	// SpillBytesMax bounds the files in Dir: 0 is 64 GiB, at least 64 MiB. Beyond it the
	// oldest go, and what they hold is counted as displaced when asked for.
	SpillBytesMax int64
	// OrphanAge is for how long feedback waits for a prediction that is not in the log yet:
	// 0 is an hour. OrphansMax bounds how much of it: 0 is 1<<18, at about 100 bytes each.
	// Beyond either it is counted and listed as unmatched; Join finds it nevertheless.
	OrphanAge  time.Duration
	OrphansMax int
	// Resume is a Position of an earlier join with the same label: what that had seen is
	// not handed out again. The zero value hands out all that the window has.
	Resume Position
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *LiveOptions) EnsureDefaults() {
	if o.Late == 0 && o.Label != nil {
		o.Late = o.Label.Window
	}
	if o.PredictionsMax == 0 {
		o.PredictionsMax = 16 << 20
	}
	if o.SpillBytesMax == 0 {
		o.SpillBytesMax = 64 << 30
	}
	if o.OrphanAge == 0 {
		o.OrphanAge = time.Hour
	}
	if o.OrphansMax == 0 {
		o.OrphansMax = 1 << 18
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *LiveOptions) Validate() error {
	var all []error
	wrong := func(bad bool, format string, values ...any) {
		if bad {
			all = append(all, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, values...)...))
		}
	}
	wrong(o.Log == nil, "log: must be given")
	wrong(o.Label == nil, "label: must be given")
	wrong(o.Dir == "", "dir: must be given")
	wrong(o.Late < 0 || o.Late > WindowMax, "late %v: is not between 0 and ten years", o.Late)
	wrong(o.PredictionsMax < 1 || o.PredictionsMax > 1<<31, "predictions max %d: is not between 1 and 2^31", o.PredictionsMax)
	wrong(o.SpillBytesMax < spillFileBytes, "spill bytes max %d: is less than 64 MiB", o.SpillBytesMax)
	wrong(o.OrphanAge < 0, "orphan age %v: is negative", o.OrphanAge)
	wrong(o.OrphansMax < 1, "orphans max %d: is less than 1", o.OrphansMax)
	if o.Label != nil {
		if err := o.Label.Validate(); err != nil {
			all = append(all, fmt.Errorf("%w: label %s: %w", ErrInvalid, o.Label.Name, err))
		}
	}
	return errors.Join(all...)
}

// Position is how far a live join has come. Who keeps what it was handed keeps the
// position with it.
type Position struct {
	// Sequence in the log up to which everything was seen.
	Sequence uint64 `json:"sequence"`
	// Clock, in microseconds, up to which windows were found to be over.
	Clock int64 `json:"clock"`
}

// VersionsMax is how many versions of feedback about one prediction a live join looks at:
// the newest ones.
const VersionsMax = 1024

// Live joins feedback to predictions as they arrive. It is used by one goroutine, and
// has none of its own: Poll does the work.
//
// Feedback by entity is looked for among the entity's predictions from the newest back to
// the event: an entity with very many predictions since costs a step for each of them.
//
// In memory it has 40 bytes for each prediction of the last Window and Late, a hash table
// and a heap; what rows are made of is in files. All of it follows from the log and is
// made again by OpenLive.
type Live struct {
	options LiveOptions
	label   *Definition
	reader  *reader
	kept    []int // places in reader.values of what is kept
	tail    *offline.Tail
	bound   *offline.Column // the schema that reader is bound to
	seed    maphash.Seed
	index   *index
	spill   *spill
	heads   map[uint64]uint32 // youngest prediction of an entity, by hash, as slot+1
	orphans orphans
	after   uint64
	clock   int64
	visit   func(*Row) error // nil while loading
	stats   LiveStats
	err     error // after which the join has to be opened again

	encoded, loaded, details []byte
	chain                    []candidate
	outcome                  Outcome
	row                      Row
	outBound                 outcomeBinding
}

// LiveStats counts what a live join has met since it was opened.
type LiveStats struct {
	// Predictions are in the index, Orphans wait for theirs.
	Predictions, Orphans int
	// Joined is feedback that found its prediction, OutOfWindow that of it which was too
	// early or too late to count, Moved that which found a nearer one later.
	Joined, OutOfWindow, Moved int64
	// Unmatched is feedback whose prediction did not come in time, or had been forgotten;
	// see Live.Unmatched.
	Unmatched int64
	// Emitted rows, and those among them whose feedback was not of one mind.
	Emitted, Contradicted int64
	// Matured and Forgotten predictions; TooOld were so when they arrived, Repeated had
	// the id of an earlier one; Displaced went early, for a bound.
	Matured, Forgotten, TooOld, Repeated, Displaced int64
	// CaughtUp counts scans that were needed since the log could not replay that far.
	CaughtUp int64
	// SpillBytes are in files.
	SpillBytes int64
}

// OpenLive makes a join and reads what it needs of the log up to Resume: some seconds for
// each million predictions of the window.
func OpenLive(ctx context.Context, o LiveOptions) (*Live, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if durable := o.Log.Durable(); o.Resume.Sequence > durable {
		return nil, fmt.Errorf("%w: resume at sequence %d, and the log has %d: it is another one, or lost its end; resume from an earlier position", offline.ErrUnknownSequence, o.Resume.Sequence, durable)
	}
	files, err := openSpill(o.Dir, o.SpillBytesMax)
	if err != nil {
		return nil, err
	}
	d := o.Label
	l := &Live{options: o, label: d, reader: newReader(o.Columns), seed: maphash.MakeSeed(), spill: files,
		index: newIndex(d.Window.Microseconds(), o.Late.Microseconds(), len(d.Entity) > 0), heads: map[uint64]uint32{},
		orphans: orphans{byTarget: map[uint64]orphan{}}, clock: o.Resume.Clock}
	for i := range l.reader.wanted {
		if !o.LabelsOnly || i == int(preFacts) && len(d.Entity) > 0 {
			l.kept = append(l.kept, i)
		}
	}
	if o.Resume.Sequence > 0 {
		err = l.read(ctx, o.Resume.Sequence, o.Resume.Clock)
	}
	if err == nil && o.Resume.Clock > 0 {
		err = l.mature(ctx, o.Resume.Clock)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("live join %s: %w", d.Name, err), l.Close())
	}
	return l, nil
}

// Poll reads what became durable since the last one and hands out every row whose label
// came, changed or matured, as it is now; rows without a label are not handed out before
// they are mature. A row is good until visit returns.
//
// After an error the join is broken, since a row may not have been handed out: open it
// again with the Position that was kept.
func (l *Live) Poll(ctx context.Context, visit func(*Row) error) error {
	return l.PollTo(ctx, math.MaxUint64, visit)
}

// PollTo is Poll of records up to a sequence, for who reads predictions beside it and has to
// be as far with both.
func (l *Live) PollTo(ctx context.Context, sequence uint64, visit func(*Row) error) error {
	if l.err != nil {
		return l.err
	}
	l.visit = visit
	err := l.poll(ctx, sequence)
	l.visit = nil
	if err != nil {
		l.err = fmt.Errorf("live join %s: %w", l.label.Name, err)
	}
	return l.err
}

func (l *Live) poll(ctx context.Context, sequence uint64) error {
	now := l.now()
	if err := l.read(ctx, min(sequence, l.options.Log.Durable()), now); err != nil {
		return err
	}
	return l.mature(ctx, now)
}

func (l *Live) now() int64 { return max(micros(l.options.Now()), l.clock) }

// Feed folds in the next record of the log, for who reads the log beside it: it is read and
// decoded once then. All records behind the position are to be fed, in the order of the log
// and with at least the columns that FeedColumns says; those of other streams may be left
// out. PollTo what was read ends it: only that hands out what is mature. Errors are as those
// of Poll.
func (l *Live) Feed(stream string, columns []offline.Column, r *offline.Record, visit func(*Row) error) error {
	if l.err != nil || r.Sequence <= l.after {
		return l.err
	}
	l.visit = visit
	err := l.take(stream, columns, r, l.now())
	l.visit = nil
	if err != nil {
		l.err = fmt.Errorf("live join %s: %w", l.label.Name, err)
		return l.err
	}
	l.after = r.Sequence
	return nil
}

// Fed says that all up to a sequence was fed: what is not there a repair lost, or is of
// streams that were left out.
func (l *Live) Fed(sequence uint64) { l.after = max(l.after, sequence) }

// FeedColumns are the columns, by stream, that a join needs whose rows have LabelsOnly. No
// names are all columns.
func FeedColumns() map[string][]string {
	return map[string][]string{
		PredictionStream: {predictionColumns[preDecision].Name, predictionColumns[preFacts].Name},
		OutcomeStream:    nil,
	}
}

// follow is a tail from the place where the join is.
func (l *Live) follow() *offline.Tail {
	only := map[string][]string{PredictionStream: l.reader.wanted, OutcomeStream: nil}
	if l.options.LabelsOnly {
		only = FeedColumns()
	}
	return l.options.Log.Tail(l.after).Only(only)
}

// read folds in what is behind the last record seen, up to a sequence that is durable.
func (l *Live) read(ctx context.Context, to uint64, now int64) error {
	if to <= l.after {
		return nil
	}
	if l.tail == nil || l.tail.After() != l.after {
		l.tail = l.follow()
	}
	err := l.tail.Read(ctx, to, func(stream string, columns []offline.Column, r *offline.Record) error {
		if err := l.take(stream, columns, r, now); err != nil {
			return err
		}
		l.after = r.Sequence
		return nil
	})
	if errors.Is(err, offline.ErrTooOld) {
		l.stats.CaughtUp++
		return l.catchUp(ctx, to, now)
	}
	if err == nil {
		l.after = to // what is behind the last record was lost by a repair
	}
	return err
}

// take folds a record in.
func (l *Live) take(stream string, columns []offline.Column, r *offline.Record, now int64) error {
	switch stream {
	case PredictionStream:
		if l.bound == nil || l.bound != &columns[0] {
			l.reader.bind(columns)
			l.bound = &columns[0]
		}
		return l.predict(r, now)
	case OutcomeStream:
		return l.hear(l.outBound.bind(columns, r), now)
	}
	return nil
}

// outcomeBinding puts the values of outcome records in the order of outcomeColumns.
type outcomeBinding struct {
	bound  *offline.Column
	place  [outColumns]int
	record offline.Record
}

func (b *outcomeBinding) bind(columns []offline.Column, r *offline.Record) *offline.Record {
	if b.bound == nil || b.bound != &columns[0] {
		for i := range outcomeColumns {
			b.place[i] = -1
			for k := range columns {
				if columns[k] == outcomeColumns[i] {
					b.place[i] = k
				}
			}
		}
		b.bound, b.record.Values = &columns[0], make([]offline.Value, outColumns)
	}
	values := b.record.Values
	b.record = *r
	b.record.Values = values
	for i, at := range b.place {
		values[i] = offline.Value{}
		if at >= 0 {
			values[i] = r.Values[at]
		}
	}
	return &b.record
}

// catchUp reads what a replay cannot: the records behind the last one seen up to a
// sequence, in the order of their events. It only reads events that can still matter.
func (l *Live) catchUp(ctx context.Context, to uint64, now int64) error {
	from := now - addTimes(l.label.Window.Microseconds(), l.options.Late.Microseconds())
	columns, err := l.reader.columns(l.options.Log)
	if err != nil && !errors.Is(err, offline.ErrUnknownStream) {
		return err
	}
	for _, q := range []offline.Query{
		{Stream: PredictionStream, Columns: columns, From: max(0, from)},
		{Stream: OutcomeStream, From: max(0, from-EarlyMax.Microseconds())},
	} {
		q.Versions = offline.AllVersions
		if err := l.scan(ctx, q, to, now); err != nil {
			return err
		}
	}
	l.after = to
	return nil
}

func (l *Live) scan(ctx context.Context, q offline.Query, to uint64, now int64) error {
	scan, err := l.options.Log.Scan(ctx, q)
	if errors.Is(err, offline.ErrUnknownStream) {
		return nil
	} else if err != nil {
		return err
	}
	columns := scan.Columns()
	for scan.Next() {
		if r := scan.Record(); r.Sequence > l.after && r.Sequence <= to {
			if err := l.take(q.Stream, columns, r, now); err != nil {
				return errors.Join(err, scan.Close())
			}
		}
	}
	return errors.Join(scan.Err(), scan.Close())
}

// mature hands out the predictions whose window is over and forgets those that are past
// corrections.
func (l *Live) mature(ctx context.Context, now int64) error {
	x := l.index
	for n := 0; len(x.heap) > 0 && x.due(x.heap[0]) < now; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		slot := x.heap[0]
		if x.at(slot).mature() {
			l.stats.Forgotten++
			l.forgetFirst()
			continue
		}
		x.at(slot).record |= matureBit
		x.down(0)
		l.stats.Matured++
		if l.options.LabelsOnly && x.at(slot).head == 0 {
			continue
		}
		if err := l.emitAsIs(slot); err != nil {
			return err
		}
	}
	if err := l.expireOrphans(now); err != nil {
		return err
	}
	l.clock = max(l.clock, now)
	return l.spill.expire(now)
}

// forgetFirst forgets the prediction that is due first.
func (l *Live) forgetFirst() {
	slot := l.index.heap[0]
	if l.index.entities != nil {
		l.unlink(slot)
	}
	l.index.removeFirst()
}

// Position is how far the join has come, between two polls.
func (l *Live) Position() Position { return Position{Sequence: l.after, Clock: l.clock} }

// Stats are the counts.
func (l *Live) Stats() LiveStats {
	s := l.stats
	s.Predictions, s.Orphans, s.SpillBytes = l.index.used, l.orphans.count, l.spill.bytes
	return s
}

// Close removes the files and gives the memory back, which is not the Go heap's. A second Close does nothing.
func (l *Live) Close() error {
	if errors.Is(l.err, ErrClosed) {
		return nil
	}
	l.err = fmt.Errorf("live join %s: %w", l.label.Name, ErrClosed)
	l.index.close()
	return l.spill.close()
}
