// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// JoinOptions ask for a joined table.
type JoinOptions struct {
	// Log has the predictions and the feedback.
	Log *offline.Log
	// Label says which feedback counts, and whose predictions are joined.
	Label *Definition
	// AsOf is the instant whose knowledge the table has, in microseconds: nothing that
	// arrived later shows, and a window that was not over then is not over. 0 is now.
	AsOf int64
	// From and To bound the time of the predictions: From is included, To is not, and 0 is
	// no bound.
	From, To int64
	// Model takes only predictions of that model; empty takes all. It does not change to
	// which prediction feedback belongs.
	Model string
	// MatureOnly leaves out predictions whose window is not over, labelled or not: labels
	// that come early are not a fair sample.
	MatureOnly bool
	// EarlyFrom are sources whose early labels are: they were asked whatever the label would
	// be, and say yes and no alike, as people do who review what was chosen for them. With
	// MatureOnly, predictions whose window is not over are there too if one of them spoke,
	// whichever source the label is from: what a bank says later must not take out the yes.
	EarlyFrom []string
	// LabelledOnly leaves out those without a label.
	LabelledOnly bool
	// Columns of the predictions for Row.Extra, for example VectorColumns.
	Columns []string
	// HeldMax bounds the feedback of one window, and the predictions within
	// Definition.Within, that are held in memory, at some 300 bytes each: 0 is 1<<22.
	// ErrTooMany is met beyond it.
	HeldMax int
	// Now is the clock for AsOf 0; nil is the machine's.
	Now func() time.Time
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *JoinOptions) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AsOf == 0 {
		o.AsOf = micros(o.Now())
	}
	if o.HeldMax == 0 {
		o.HeldMax = 1 << 22
	}
}

// Validate says what is wrong, after EnsureDefaults.
func (o *JoinOptions) Validate() error {
	switch {
	case o.Log == nil:
		return fmt.Errorf("%w: log: must be given", ErrInvalid)
	case o.Label == nil:
		return fmt.Errorf("%w: label: must be given", ErrInvalid)
	case o.AsOf < 0 || o.From < 0 || o.To < 0 || (o.To > 0 && o.From > o.To):
		return fmt.Errorf("%w: as of %d, from %d, to %d: times are not negative, and from is not after to", ErrInvalid, o.AsOf, o.From, o.To)
	case o.HeldMax < 1:
		return fmt.Errorf("%w: held max %d: is less than 1", ErrInvalid, o.HeldMax)
	}
	if err := o.Label.Validate(); err != nil {
		return fmt.Errorf("%w: label %s: %w", ErrInvalid, o.Label.Name, err)
	}
	return nil
}

// Rows yields the joined table by time of the prediction and then id. It is used by one
// goroutine.
//
// It reads predictions and feedback side by side and holds the feedback of one window.
type Rows struct {
	options  JoinOptions
	main     *offline.Scanner
	reader   *reader
	outcomes outcomeCursor
	ahead    *aheadCursor // nil without entities
	row      Row
	all      []candidate
	err      error
}

// Join begins to read the table. The rows must be closed.
func Join(ctx context.Context, o JoinOptions) (*Rows, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &Rows{options: o, reader: newReader(o.Columns)}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("join %s: %w", o.Label.Name, err), r.Close())
	}
	return r, nil
}

func (r *Rows) open(ctx context.Context) error {
	o := &r.options
	columns, err := r.reader.columns(o.Log)
	if err != nil {
		return err
	}
	query := offline.Query{Stream: PredictionStream, Columns: columns, From: o.From, To: o.To, AsOf: o.AsOf, Versions: offline.LatestPerEvent}
	if r.main, err = o.Log.Scan(ctx, query); err != nil {
		return err
	}
	r.reader.bind(r.main.Columns())
	if err := r.outcomes.open(ctx, o); err != nil {
		return err
	}
	if len(o.Label.Entity) == 0 {
		return nil
	}
	r.ahead = &aheadCursor{label: o.Label, limit: o.HeldMax, byKey: map[string][]predicted{}, reader: newReader(nil)}
	if query.To > 0 {
		query.To += o.Label.Within.Microseconds() + 1
	}
	query.Columns = slices.DeleteFunc(columns, func(name string) bool {
		return name != predictionColumns[preDecision].Name && name != predictionColumns[preFacts].Name
	})
	if r.ahead.scan, err = o.Log.Scan(ctx, query); err != nil {
		return err
	}
	r.ahead.reader.bind(r.ahead.scan.Columns())
	return nil
}

// Next moves to the next row. It is false at the end and after an error.
func (r *Rows) Next() bool {
	for r.err == nil && r.main != nil && r.main.Next() {
		record := r.main.Record()
		r.reader.read(record)
		r.reader.row(record, &r.row)
		if r.row.Decision != r.options.Label.Decision {
			continue
		}
		if err := r.label(); err != nil {
			r.err = fmt.Errorf("join %s: %w", r.options.Label.Name, err)
			return false
		}
		l, o := &r.row.Label, &r.options
		if (o.Model != "" && r.row.Model != o.Model) || (o.MatureOnly && !l.Mature && !r.reviewed()) || (o.LabelledOnly && l.Status != Observed && l.Status != Silent) {
			continue
		}
		return true
	}
	if r.err == nil && r.main != nil {
		r.err = r.main.Err()
	}
	return false
}

// reviewed says whether one of EarlyFrom said something that counts of the row.
func (r *Rows) reviewed() bool {
	return len(r.options.EarlyFrom) > 0 && slices.ContainsFunc(r.all, func(c candidate) bool {
		_, counts := r.options.Label.counts(r.row.Time, &c)
		return counts && slices.Contains(r.options.EarlyFrom, c.source)
	})
}

// label finds the label of the row.
func (r *Rows) label() error {
	d, t := r.options.Label, r.row.Time
	if err := r.outcomes.advance(t, d); err != nil {
		return err
	}
	r.all = append(r.all[:0], r.outcomes.byID[r.row.PredictionID]...)
	if r.ahead != nil {
		next, err := r.ahead.following(t, r.row.PredictionID, r.row.Facts)
		if err != nil {
			return err
		}
		if key := d.factsKey(r.row.Facts); key != "" {
			for _, c := range r.outcomes.byEntity[key] {
				if c.event >= t && c.event < next {
					r.all = append(r.all, c)
				}
			}
		}
	}
	r.row.Label = d.decide(t, d.mature(t, r.options.AsOf), r.all)
	return nil
}

// Row is the current one. It and all it refers to are good until Next or Close; see
// Row.Clone.
func (r *Rows) Row() *Row { return &r.row }

// Err is what ended the table early.
func (r *Rows) Err() error { return r.err }

// Close lets files go. A second Close does nothing.
func (r *Rows) Close() error {
	var all []error
	for _, scan := range []**offline.Scanner{&r.main, &r.outcomes.scan} {
		if *scan != nil {
			all = append(all, (*scan).Close())
			*scan = nil
		}
	}
	if r.ahead != nil && r.ahead.scan != nil {
		all = append(all, r.ahead.scan.Close())
		r.ahead.scan = nil
	}
	return errors.Join(all...)
}

// outcomeCursor holds the feedback around the prediction that a join has come to.
type outcomeCursor struct {
	scan     *offline.Scanner // nil if there is none
	byID     map[string][]candidate
	byEntity map[string][]candidate
	held     []heldKey // in order of events, from first on
	first    int
	limit    int
	ready    bool // the scan stands at a record that was not taken
	done     bool
}

type heldKey struct {
	event    int64
	key      string
	byEntity bool
}

func (c *outcomeCursor) open(ctx context.Context, o *JoinOptions) error {
	c.byID, c.byEntity, c.limit = map[string][]candidate{}, map[string][]candidate{}, o.HeldMax
	q := offline.Query{Stream: OutcomeStream, Columns: outcomeNames(), AsOf: o.AsOf, Versions: offline.Latest,
		From: max(0, o.From-EarlyMax.Microseconds())}
	if o.To > 0 {
		q.To = o.To + o.Label.Window.Microseconds() + 1
	}
	scan, err := o.Log.Scan(ctx, q)
	if errors.Is(err, offline.ErrUnknownStream) {
		c.done = true
		return nil
	}
	c.scan = scan
	return err
}

// advance reads the feedback that may be about predictions of time t, and lets go of
// what cannot be about later ones.
func (c *outcomeCursor) advance(t int64, d *Definition) error {
	for !c.done {
		if !c.ready && !c.scan.Next() {
			c.done = true
			return c.scan.Err()
		}
		c.ready = true
		record := c.scan.Record()
		if record.EventTime-t > d.Window.Microseconds() {
			break
		}
		c.ready = false
		if record.Values[outName].Text() != d.Outcome {
			continue
		}
		var o Outcome
		if err := decodeOutcome(record, &o); err != nil {
			return fmt.Errorf("feedback %.80q: %w", record.ID, err)
		}
		if err := c.hold(d, &o); err != nil {
			return err
		}
	}
	for c.first < len(c.held) && c.held[c.first].event < t-EarlyMax.Microseconds() {
		c.release()
	}
	return nil
}

func (c *outcomeCursor) hold(d *Definition, o *Outcome) error {
	k := heldKey{event: o.EventTime, key: o.PredictionID}
	into := c.byID
	if k.key == "" {
		if k.key = d.entityKey(o.Entity); k.key == "" {
			return nil
		}
		k.byEntity, into = true, c.byEntity
	}
	if len(c.held)-c.first >= c.limit {
		return fmt.Errorf("%w: more than %d pieces of feedback in one window: raise HeldMax, or shorten the window", ErrTooMany, c.limit)
	}
	into[k.key] = append(into[k.key], o.candidate())
	c.held = append(c.held, k)
	return nil
}

// release lets go of the feedback that was held first.
func (c *outcomeCursor) release() {
	k := c.held[c.first]
	c.held[c.first] = heldKey{}
	c.first++
	from := c.byID
	if k.byEntity {
		from = c.byEntity
	}
	if list := from[k.key]; len(list) > 1 {
		list[0] = candidate{}
		from[k.key] = list[1:]
	} else {
		delete(from, k.key)
	}
	if c.first > len(c.held)/2 && c.first > 1024 {
		n := copy(c.held, c.held[c.first:])
		clear(c.held[n:])
		c.held, c.first = c.held[:n], 0
	}
}

// aheadCursor reads predictions ahead, to know which one of an entity follows another.
type aheadCursor struct {
	label  *Definition
	scan   *offline.Scanner
	reader *reader
	byKey  map[string][]predicted // in order of time and id
	order  []aheadKey             // of all, from first on
	first  int
	limit  int
	ready  bool
	done   bool
}

type predicted struct {
	time int64
	id   string
}

type aheadKey struct {
	predicted
	key string
}

// following is the time of the entity's prediction that follows one, as far as
// Definition.Within reaches.
func (a *aheadCursor) following(t int64, id, facts string) (int64, error) {
	reach := t + a.label.Within.Microseconds()
	if err := a.read(reach); err != nil {
		return 0, err
	}
	key := a.label.factsKey(facts)
	for a.first < len(a.order) {
		p := &a.order[a.first]
		if p.time > t || (p.time == t && p.id > id) {
			break
		}
		if list := a.byKey[p.key]; len(list) > 1 {
			a.byKey[p.key] = list[1:]
		} else {
			delete(a.byKey, p.key)
		}
		*p = aheadKey{}
		a.first++
	}
	if a.first > len(a.order)/2 && a.first > 1024 {
		n := copy(a.order, a.order[a.first:])
		clear(a.order[n:])
		a.order, a.first = a.order[:n], 0
	}
	if list := a.byKey[key]; key != "" && len(list) > 0 {
		return list[0].time, nil
	}
	return reach + 1, nil
}

func (a *aheadCursor) read(reach int64) error {
	for !a.done {
		if !a.ready && !a.scan.Next() {
			a.done = true
			return a.scan.Err()
		}
		a.ready = true
		record := a.scan.Record()
		if record.EventTime > reach {
			return nil
		}
		a.ready = false
		a.reader.read(record)
		if a.reader.values[preDecision].Text() != a.label.Decision {
			continue
		}
		key := a.label.factsKey(a.reader.values[preFacts].Text())
		if key == "" {
			continue
		}
		if len(a.order)-a.first >= a.limit {
			return fmt.Errorf("%w: more than %d predictions within %v: raise HeldMax, or shorten match.within", ErrTooMany, a.limit, a.label.Within)
		}
		p := predicted{record.EventTime, strings.Clone(record.ID)}
		a.byKey[key] = append(a.byKey[key], p)
		a.order = append(a.order, aheadKey{p, key})
	}
	return nil
}

// RowWriter takes the rows of a table, for example into Parquet. A row is good until
// WriteRow returns.
type RowWriter interface {
	WriteRow(r *Row) error
}

// Export writes the joined table and says how many rows it has.
func Export(ctx context.Context, o JoinOptions, w RowWriter) (n int64, err error) {
	rows, err := Join(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := w.WriteRow(rows.Row()); err != nil {
			return n, fmt.Errorf("row of prediction %.80q: %w", rows.Row().PredictionID, err)
		}
		n++
	}
	return n, rows.Err()
}
