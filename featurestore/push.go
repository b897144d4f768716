// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// EventsMax is the largest number of events of one push.
const EventsMax = 100_000

// Events are events of a source to be pushed.
type Events struct {
	// Batch has a column for each field of the source, in its order. A column without
	// values is null in every row.
	Batch column.Batch
	// IDs name the events of a source that has no id field; nil otherwise.
	IDs []string
	// NoWait returns once the events are readable, before they are durable.
	NoWait bool
}

// PushResult says what became of the events of a push.
type PushResult struct {
	// Accepted events were taken, of which Duplicates had been known.
	Accepted, Duplicates int
	// Errors are the events that were not taken, by row.
	Errors []EventError
}

// EventError says why an event was not taken.
type EventError struct {
	Row     int
	Field   string
	Message string
	// Retryable: the same event may be taken later, unchanged.
	Retryable bool
}

// pushScratch is the memory of a push.
type pushScratch struct {
	route    *plan.Scratch
	record   offline.Record
	id       []byte
	outcomes []window.Outcome
	// log appends the record, for ctx, and notes its place.
	log      func() (uint64, error)
	ctx      context.Context
	sequence uint64
}

func newPushScratch(st *sourceState) *pushScratch {
	sc := &pushScratch{
		route:    st.router.NewScratch(),
		record:   offline.Record{Values: make([]offline.Value, len(st.stream.Schema().Columns))},
		outcomes: make([]window.Outcome, st.router.Updates()),
	}
	sc.log = func() (sequence uint64, err error) {
		sc.sequence, err = st.stream.AppendSequence(sc.ctx, &sc.record)
		return sc.sequence, err
	}
	return sc
}

// Push takes events of a source. Each has an outcome of its own. When it returns, the
// events taken are readable, and durable unless NoWait is set; result is kept and
// overwritten.
//
// An error means that the request as a whole was refused (ErrUnknown, ErrInvalid), or
// that durability could not be had (offline.ErrNotDurable): then the events may be
// pushed again with the same ids, and count once.
func (s *Store) Push(ctx context.Context, source string, events *Events, result *PushResult) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	st, err := s.pushSource(source, events)
	if err != nil {
		return err
	}
	*result = PushResult{Errors: result.Errors[:0]}
	sc := st.scratch.Get().(*pushScratch)
	defer st.scratch.Put(sc)
	last := uint64(0)
	for row := range events.Batch.Rows {
		sequence, fault := s.pushRow(ctx, st, sc, events, row, result)
		last = max(last, sequence)
		if fault != nil {
			fault.Row = row
			result.Errors = append(result.Errors, *fault)
		}
	}
	s.counts.pushed.Add(int64(result.Accepted))
	s.counts.duplicates.Add(int64(result.Duplicates))
	s.counts.refused.Add(int64(len(result.Errors)))
	if events.NoWait || last == 0 {
		return nil
	}
	return s.log.WaitDurable(ctx, last)
}

// pushSource finds the source and checks the shape of the events.
func (s *Store) pushSource(name string, events *Events) (*sourceState, error) {
	source := s.catalog.Source(name)
	if source == nil {
		return nil, fmt.Errorf("source %q: %w", name, ErrUnknown)
	}
	b := &events.Batch
	switch {
	case !source.Push:
		return nil, fmt.Errorf("source %s: %w: it takes no pushes; set push: true", name, ErrInvalid)
	case b.Rows > EventsMax:
		return nil, fmt.Errorf("source %s: %w: %d events, at most %d at once", name, ErrInvalid, b.Rows, EventsMax)
	case len(b.Columns) != len(source.Fields):
		return nil, fmt.Errorf("source %s: %w: %d columns for %d fields", name, ErrInvalid, len(b.Columns), len(source.Fields))
	case source.ID < 0 && len(events.IDs) != b.Rows:
		return nil, fmt.Errorf("source %s: %w: ids: %d of them for %d events; the source has no id field", name, ErrInvalid, len(events.IDs), b.Rows)
	}
	for i := range b.Columns {
		c, f := &b.Columns[i], &source.Fields[i]
		if n := c.Len(); n != 0 && (n != b.Rows || c.Type != f.Type) {
			return nil, fmt.Errorf("source %s: %w: columns.%s: %d values of type %s for %d events of type %s", name, ErrInvalid, f.Name, n, c.Type, b.Rows, f.Type)
		}
	}
	return s.sources[source.Index], nil
}

// pushRow checks, logs and applies one event, and returns its place in the log.
func (s *Store) pushRow(ctx context.Context, st *sourceState, sc *pushScratch, events *Events, row int, result *PushResult) (uint64, *EventError) {
	now := s.Now()
	if fault := sc.load(st, events, row, now); fault != nil {
		return 0, fault
	}
	updates, err := sc.route.Route(&sc.record)
	if err != nil {
		return 0, faultOf(err)
	}
	outcomes := sc.outcomes[:len(updates)]
	sc.ctx, sc.sequence = ctx, 0
	err = s.states.Apply(ctx, updates, now, sc.log, outcomes)
	sc.ctx = nil
	if err != nil {
		return sc.sequence, faultOf(err)
	}
	amends := len(updates) > 0 && len(updates[0].Amend) > 0
	return sc.sequence, s.judge(outcomes, amends, result)
}

// judge turns the outcomes in the tables into one of the event.
func (s *Store) judge(outcomes []window.Outcome, amends bool, result *PushResult) *EventError {
	switch {
	case len(outcomes) > 0 && !slices.ContainsFunc(outcomes, func(o window.Outcome) bool { return o != window.Duplicate }):
		result.Duplicates++
	case amends && slices.Contains(outcomes, window.Unknown) && !slices.Contains(outcomes, window.Applied):
		s.counts.unknown.Add(1)
		return &EventError{Message: "no event of this id and time is known to amend; push the event first", Retryable: true}
	case amends && slices.Contains(outcomes, window.TooLate) && !slices.Contains(outcomes, window.Applied):
		return &EventError{Message: "came after the delay of the views that use it had passed; they keep it as null, the log has it"}
	}
	result.Accepted++
	return nil
}

// load checks an event and fills in the record.
func (sc *pushScratch) load(st *sourceState, events *Events, row int, now int64) *EventError {
	source, b := st.source, &events.Batch
	place, whole := 0, !sc.fillsIn(st, b, row)
	for i := range source.Fields {
		if i == source.Arrival {
			continue
		}
		f, c := &source.Fields[i], &b.Columns[i]
		sc.record.Values[place] = plan.ValueOf(c, row)
		place++
		if !whole && sc.record.Values[place-1].IsNull() {
			continue
		}
		if message := f.Check(c, row); message != "" {
			return &EventError{Field: fieldPath(f, row), Message: message}
		}
	}
	if fault := sc.name(source, events, row); fault != nil {
		return fault
	}
	sc.record.ArrivalTime = now
	return sc.time(st, b, row, now)
}

// fillsIn reports whether the row sets late fields only, so that required fields may
// be absent.
func (sc *pushScratch) fillsIn(st *sourceState, b *column.Batch, row int) bool {
	late := false
	for i := range st.source.Fields {
		f, c := &st.source.Fields[i], &b.Columns[i]
		if c.Len() == 0 || c.Null(row) {
			continue
		}
		late = late || f.Late
		if !f.Late && !st.router.Context(i) {
			return false
		}
	}
	return late
}

// name sets the record's id.
func (sc *pushScratch) name(source *definition.Source, events *Events, row int) *EventError {
	if source.ID < 0 {
		sc.record.ID = events.IDs[row]
		if sc.record.ID == "" || len(sc.record.ID) > offline.IDBytesMax {
			return &EventError{Field: fmt.Sprintf("ids[%d]", row), Message: fmt.Sprintf("an id has 1 to %d bytes", offline.IDBytesMax)}
		}
		return nil
	}
	f, c := &source.Fields[source.ID], &events.Batch.Columns[source.ID]
	if c.Len() == 0 || c.Null(row) {
		return &EventError{Field: fieldPath(f, row), Message: "is required: it is the id of the event"}
	}
	if c.Type == column.String {
		if sc.record.ID = c.Texts[row]; sc.record.ID == "" || len(sc.record.ID) > offline.IDBytesMax {
			return &EventError{Field: fieldPath(f, row), Message: fmt.Sprintf("an id has 1 to %d bytes", offline.IDBytesMax)}
		}
		return nil
	}
	sc.id = strconv.AppendInt(sc.id[:0], c.Ints[row], 10)
	sc.record.ID = unsafe.String(unsafe.SliceData(sc.id), len(sc.id)) // the log copies it before the next row
	return nil
}

// time sets the record's event time.
func (sc *pushScratch) time(st *sourceState, b *column.Batch, row int, now int64) *EventError {
	sc.record.EventTime = now
	if st.source.Timestamp < 0 {
		return nil
	}
	f, c := &st.source.Fields[st.source.Timestamp], &b.Columns[st.source.Timestamp]
	if c.Len() == 0 || c.Null(row) {
		return &EventError{Field: fieldPath(f, row), Message: "is required: it is the time of the event"}
	}
	t := c.Ints[row]
	sc.record.EventTime = t
	switch ahead := t - now; {
	case t < 0:
		return &EventError{Field: fieldPath(f, row), Message: "lies before 1970; times are microseconds since 1970 UTC"}
	case ahead > st.source.FutureMax.Microseconds():
		return &EventError{Field: fieldPath(f, row), Retryable: ahead < time.Hour.Microseconds(),
			Message: fmt.Sprintf("lies %v in the future; future_max of the source allows %v", micros(ahead), st.source.FutureMax)}
	case st.reach >= 0 && -ahead > st.reach:
		return &EventError{Field: fieldPath(f, row), Message: fmt.Sprintf("lies %s in the past; no view reaches further back than %s; load history with millrace features materialize", days(-ahead), days(st.reach))}
	}
	return nil
}

func micros(us int64) time.Duration {
	if us > math.MaxInt64/1000 {
		return math.MaxInt64
	}
	return (time.Duration(us) * time.Microsecond).Round(time.Second)
}

func fieldPath(f *definition.Field, row int) string {
	return fmt.Sprintf("columns.%s[%d]", f.Name, row)
}

// faultOf turns an error of logging or applying into that of an event.
func faultOf(err error) *EventError {
	var field *plan.FieldError
	if errors.As(err, &field) {
		return &EventError{Field: "columns." + field.Field, Message: field.Message}
	}
	permanent := errors.Is(err, offline.ErrInvalidRecord) || errors.Is(err, window.ErrEvent)
	return &EventError{Message: err.Error(), Retryable: !permanent}
}

// days writes a time of microseconds for people: in days from two of them on.
func days(us int64) string {
	const day = int64(24 * time.Hour / time.Microsecond)
	if us >= 2*day {
		return fmt.Sprintf("%.4g days", float64(us)/float64(day))
	}
	return micros(us).String()
}
