// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// reason is why a row is not in a training set.
type reason int

// The reasons, in the order in which they are looked at.
const (
	noTime reason = iota
	outOfRange
	notArrived
	noKey
	noRequest
	duplicate
	noLabel
	labelUnknown
	sampledOut
	reasons
)

var reasonNames = [reasons]string{
	"time is null or out of range", "outside from and to", "arrived after as-of", "key is null",
	"required request field is null", "same event again", "label is null", "label not known by as-of", "not in the sample",
}

// labels makes rows of a training set out of those of a source or file.
type labels struct {
	fields []definition.Field
	source *definition.Source // nil for a file
	// keys and request are places of the service's keys and request fields, -1 for none;
	// time, arrival and id likewise; names and carry those of labels and carried columns.
	keys, request     []int
	required          []bool // of request
	serviceTime       int    // place in request of the row's time, -1 for none
	time, arrival, id int
	names, carry      []int
	weight            bool
	lateCarry         bool // carried fields may be late and not known yet
	// fill says which column of the rows each column of the engine is, -1 for nulls; at is
	// the reverse of it.
	fill []int
	at   map[int]int

	from, to, asOf int64
	sample         Sample
	count          *tally
}

// tally counts rows.
type tally struct {
	seen    atomic.Int64
	dropped [reasons]atomic.Int64
}

// newLabels finds the columns that are needed among the fields of the rows.
func newLabels(o *Options, s *definition.Service, from *definition.Source, fields []definition.Field) (*labels, error) {
	l := &labels{fields: fields, source: from, serviceTime: s.Time, time: -1, arrival: -1, id: -1, from: bound(o.From, math.MinInt64), to: bound(o.To, math.MaxInt64),
		asOf: o.asOf(), sample: o.Sample, count: new(tally), weight: o.Sample.Negatives < 1}
	f := finder{fields: fields, all: func() string { return fieldNames(fields) }}
	for _, e := range s.Entities {
		l.keys = append(l.keys, f.find("key of entity "+e.Name, e.Key, e.Type))
	}
	for i, r := range s.Request {
		place := f.optional(r.Name)
		if place >= 0 && fields[place].Type != r.Type {
			f.wrong("request field %s is %s, the column is %s", r.Name, r.Type, fields[place].Type)
		}
		if place >= 0 && fields[place].Late {
			f.wrong("request field %s is known only %v after the event, so no request can bring it", r.Name, fields[place].KnownAfter)
		}
		if place < 0 && r.Required && i != s.Time {
			f.wrong("no column %s, a required field of the request; there are %s", r.Name, f.all())
		}
		l.request, l.required = append(l.request, place), append(l.required, r.Required)
	}
	l.time = f.time(o, s, from)
	if from != nil {
		l.arrival, l.id = from.Arrival, from.ID
	}
	if o.Labels.ID != "" {
		l.id = f.find("id", o.Labels.ID, column.Invalid)
	}
	for _, name := range o.Labels.Names {
		l.names = append(l.names, f.find("label", name, column.Invalid))
	}
	for _, name := range o.Labels.Carry {
		l.carry = append(l.carry, f.find("carried column", name, column.Invalid))
	}
	if o.Labels.Carry == nil {
		l.carry = l.usual()
	}
	if o.Sample.Negatives < 1 && len(l.names) > 0 && l.names[0] >= 0 && !fields[l.names[0]].Type.Number() {
		f.wrong("label %s is a string; negatives are those with 0 or false", o.Labels.Names[0])
	}
	return l, f.err()
}

// usual are the columns carried unless others are named: id, time and keys.
func (l *labels) usual() (carry []int) {
	for _, place := range append([]int{l.id, l.time}, l.keys...) {
		if place >= 0 && !slices.Contains(carry, place) {
			carry = append(carry, place)
		}
	}
	return carry
}

// finder finds columns and collects complaints.
type finder struct {
	fields []definition.Field
	all    func() string
	faults []string
}

func fieldNames(fields []definition.Field) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func (f *finder) wrong(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *finder) err() error {
	if len(f.faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: labels: %s", ErrOptions, strings.Join(f.faults, "; "))
}

func (f *finder) optional(name string) int {
	return slices.IndexFunc(f.fields, func(d definition.Field) bool { return d.Name == name })
}

// find returns the place of a column that must be there, of a type unless it is Invalid.
func (f *finder) find(what, name string, t column.Type) int {
	place := f.optional(name)
	switch {
	case place < 0:
		f.wrong("no column %s (%s); there are %s", name, what, f.all())
	case t != column.Invalid && f.fields[place].Type != t:
		f.wrong("%s %s is %s, the column is %s", what, name, t, f.fields[place].Type)
	}
	return place
}

func (f *finder) time(o *Options, s *definition.Service, from *definition.Source) int {
	name := o.Labels.Time
	switch {
	case name != "":
	case from != nil:
		return from.Timestamp
	case s.Time >= 0:
		name = s.Request[s.Time].Name
	default:
		name = "event_timestamp"
	}
	return f.find("time", name, column.Timestamp)
}

// arrange lays the engine's columns out, each column of the rows once, and returns those
// that come after keys and request.
func (l *labels) arrange() (extra []column.Column) {
	l.fill, l.at = append(l.fill, l.keys...), map[int]int{}
	for i, place := range l.request {
		if i == l.serviceTime {
			place = l.time
		}
		l.fill = append(l.fill, place)
	}
	if l.serviceTime < 0 {
		l.fill = append(l.fill, l.time)
	}
	for at, place := range l.fill {
		l.at[place] = at
	}
	for _, place := range append(slices.Clone(l.carry), l.names...) {
		if _, there := l.at[place]; !there {
			l.at[place] = len(l.fill)
			l.fill = append(l.fill, place)
			extra = append(extra, column.Column{Name: l.fields[place].Name, Type: l.fields[place].Type})
		}
	}
	for _, place := range l.carry {
		l.lateCarry = l.lateCarry || l.fields[place].Late
	}
	if l.weight {
		extra = append(extra, column.Column{Name: "weight", Type: column.Float64})
	}
	return extra
}

// take appends the rows of a batch that belong to the training set. unknown, unless nil,
// has the rows with a late value that was not known by as-of and is null for that; else
// this is found out by its field.
func (l *labels) take(to, from *column.Batch, unknown []bool) {
	l.count.seen.Add(int64(from.Rows))
	begin := 0 // of a run of rows that belong to it
	for row := range from.Rows {
		r, weight := l.judge(from, row, unknown == nil)
		if r == noLabel && unknown != nil && unknown[row] {
			r = labelUnknown
		}
		if l.weight && r == reasons {
			to.Columns[len(l.fill)].AppendNumber(weight)
		}
		if r != reasons {
			l.count.dropped[r].Add(1)
			l.append(to, from, begin, row)
			begin = row + 1
		}
	}
	l.append(to, from, begin, from.Rows)
}

// judge says why a row is left out, or reasons, and the weight that it has if not.
func (l *labels) judge(b *column.Batch, row int, byField bool) (r reason, weight float64) {
	c := &b.Columns[l.time]
	if c.Null(row) || !inRange(c.Ints[row]) {
		return noTime, 0
	}
	time := c.Ints[row]
	if time < l.from || time >= l.to {
		return outOfRange, 0
	}
	arrival := time
	if l.arrival >= 0 && !b.Columns[l.arrival].Null(row) {
		arrival = max(time, b.Columns[l.arrival].Ints[row])
	}
	if arrival > l.asOf {
		return notArrived, 0
	}
	for _, k := range l.keys {
		if b.Columns[k].Null(row) {
			return noKey, 0
		}
	}
	for i, place := range l.request {
		if l.required[i] && place >= 0 && b.Columns[place].Null(row) {
			return noRequest, 0
		}
	}
	for _, n := range l.names {
		if b.Columns[n].Null(row) {
			return noLabel, 0
		}
	}
	for _, n := range l.names {
		if f := &l.fields[n]; byField && f.Late && knownAt(f, time, arrival) > l.asOf {
			return labelUnknown, 0
		}
	}
	return l.pick(b, row, time)
}

// pick samples a row.
func (l *labels) pick(b *column.Batch, row int, time int64) (r reason, weight float64) {
	if l.sample.Rate >= 1 && l.sample.Negatives >= 1 {
		return reasons, 1
	}
	h := window.KeyOf(l.name(b, row, time))
	if !chosen(h, l.sample.Seed, l.sample.Rate) {
		return sampledOut, 0
	}
	if l.sample.Negatives < 1 && b.Columns[l.names[0]].Number(row) == 0 {
		if !chosen(h, l.sample.Seed+1, l.sample.Negatives) {
			return sampledOut, 0
		}
		return reasons, 1 / l.sample.Negatives
	}
	return reasons, 1
}

// chosen says whether a hash falls into a share.
func chosen(h, seed uint64, share float64) bool {
	return share >= 1 || float64(spread(h+seed*0x9e3779b97f4a7c15)) < share*0x1p64
}

// name is what sampling hashes.
func (l *labels) name(b *column.Batch, row int, time int64) string {
	if l.id >= 0 && !b.Columns[l.id].Null(row) {
		return text(&b.Columns[l.id], row)
	}
	name := fmt.Sprint(time)
	for _, k := range l.keys {
		name += "\x00" + text(&b.Columns[k], row)
	}
	return name
}

// text is a value that is not null in words.
func text(c *column.Column, row int) string {
	switch c.Type {
	case column.String:
		return c.Texts[row]
	case column.Bool, column.Float64:
		return fmt.Sprint(c.Numbers[row])
	}
	return fmt.Sprint(c.Ints[row])
}

// append copies rows into the columns of the engine, but for the weight.
func (l *labels) append(to, from *column.Batch, begin, end int) {
	for i, place := range l.fill {
		c := &to.Columns[i]
		switch {
		case place < 0:
			for range end - begin {
				c.AppendNull()
			}
		case l.lateCarry && l.fields[place].Late:
			for row := begin; row < end; row++ {
				if l.hidden(from, row, place) {
					c.AppendNull()
				} else {
					copyRow(c, &from.Columns[place], row)
				}
			}
		default:
			copyRows(c, &from.Columns[place], begin, end)
		}
	}
	to.Rows += end - begin
}

// hidden says that a carried value was not known by as-of.
func (l *labels) hidden(b *column.Batch, row, place int) bool {
	f := &l.fields[place]
	time := b.Columns[l.time].Ints[row]
	arrival := time
	if l.arrival >= 0 && !b.Columns[l.arrival].Null(row) {
		arrival = b.Columns[l.arrival].Ints[row]
	}
	return knownAt(f, time, arrival) > l.asOf
}
