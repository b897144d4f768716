// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// candidates are the rows of a source whose events may be there several times: in several
// inputs, in the log, with late fields that come separately. Of the records of one id
// and time the first whole one is the row, and its late fields are the last that were known
// by as-of.
//
//	rows ──► batches ─────────────────────────────┐
//	  └────► versions by id ──► verdicts by block ──┴► rows with late fields filled in
type candidates struct {
	source *definition.Source // projected: the fields that the labels need
	fields []int              // where they are in the source itself
	late   []int              // projected fields
	// telling are fields of the source itself that a mere amendment does not have.
	telling []int
	store   *store
	asOf    int64

	versions, verdicts *shuffle
	perBlock           int
	// drop is told of a row that has no time, or arrived after as-of.
	drop func(time bool)
	mu   struct {
		sync.Mutex
		batches []batch
	}
}

// A version is, after the key (hash of the id, time): arrival, order, row, place of the row
// in the order of all, size in bytes of the late values, and these as in appendLate. order
// is that of layout; a mere amendment has no row.
const (
	versionArrival = 2 + iota
	versionOrder
	versionRow
	versionPlace
	versionSize
	versionHead
)

// A verdict is a row, what became of it, size in bytes of its late values, and these.
const (
	verdictRow = iota
	verdictWhat
	verdictSize
	verdictHead
)

// What becomes of a row.
const (
	verdictKeep = iota
	verdictDuplicate
	verdictUnknown // a late value is there that was not known by as-of
)

// newCandidates projects a source to the fields that labels need.
func newCandidates(e *engine, r *plan.Router, l *labels, parts int) *candidates {
	s := r.Source()
	need := make([]bool, len(s.Fields))
	mark(need, l.fill...)
	mark(need, l.time, l.arrival, l.id)
	mark(need, l.names...)
	for i, place := range l.request {
		if l.required[i] {
			mark(need, place)
		}
	}
	c := &candidates{source: &definition.Source{Name: s.Name, ID: -1, Timestamp: -1, Arrival: -1}, telling: tellingOf(r), store: e.store, asOf: e.asOf}
	for i, n := range need {
		if !n {
			continue
		}
		at := len(c.fields)
		for _, p := range [...]struct {
			of int
			to *int
		}{{s.ID, &c.source.ID}, {s.Timestamp, &c.source.Timestamp}, {s.Arrival, &c.source.Arrival}} {
			if p.of == i {
				*p.to = at
			}
		}
		if s.Fields[i].Late {
			c.late = append(c.late, at)
		}
		c.fields = append(c.fields, i)
		c.source.Fields = append(c.source.Fields, s.Fields[i])
	}
	c.versions = newShuffle(e.store, parts)
	return c
}

func (c *candidates) newBatch() *column.Batch {
	b := new(column.Batch)
	for _, f := range c.source.Fields {
		b.Columns = append(b.Columns, column.Column{Name: f.Name, Type: f.Type})
	}
	return b
}

// collector adds rows, for one goroutine.
type collector struct {
	*candidates
	out      *spreader
	batch    *column.Batch
	pending  []version
	id       []byte
	bytes    []byte // of late values
	slice, n int
}

// version is a record whose batch is still being filled.
type version struct {
	key            [2]uint64
	arrival        int64
	order          uint64
	offset         int // in the batch, -1 for a mere amendment
	lateAt, lateTo int // in collector.bytes
}

// collector begins a slice. It must be closed.
func (c *candidates) collector(slice int) *collector {
	return &collector{candidates: c, out: c.versions.spreader(), batch: c.newBatch(), slice: slice}
}

// close ends the slice.
func (k *collector) close() error {
	err := k.flush()
	if err == nil {
		err = k.out.cut(k.slice)
	}
	k.versions.giveBack(k.out)
	return err
}

// flush stores the batch and writes its versions.
func (k *collector) flush() error {
	number := -1
	if k.batch.Rows > 0 {
		blob, err := k.store.put(encodeBatch(make([]uint64, 0, encodedSize(k.batch)), k.batch))
		if err != nil {
			return err
		}
		k.mu.Lock()
		number = len(k.mu.batches)
		k.mu.batches = append(k.mu.batches, batch{number: number, slice: k.slice, part: k.n, rows: k.batch.Rows, blob: blob})
		k.mu.Unlock()
	}
	for i := range k.pending {
		if err := k.put(&k.pending[i], number); err != nil {
			return err
		}
	}
	k.n++
	empty(k.batch)
	k.pending, k.bytes = k.pending[:0], k.bytes[:0]
	return nil
}

func (k *collector) put(v *version, number int) error {
	late := k.bytes[v.lateAt:v.lateTo]
	words, err := k.out.record(partOf(v.key[0], k.versions.parts()), versionHead+wordsFor(len(late)))
	if err != nil {
		return err
	}
	copy(words, v.key[:])
	words[versionArrival], words[versionOrder], words[versionRow], words[versionPlace] = uint64(v.arrival), v.order, 0, 0
	if v.offset >= 0 {
		words[versionRow] = rowName(number, v.offset)
		words[versionPlace] = uint64(k.slice+1)<<40 | uint64(k.n)<<20 | uint64(v.offset) // a batch has fewer rows than 2^20
	}
	words[versionSize] = uint64(len(late))
	putBytes(words[versionHead:], late)
	return nil
}

// add takes a record: whole says that it is an event and not a mere amendment, value
// appends the value of a field of the source itself to a column.
func (k *collector) add(key [2]uint64, arrival int64, order uint64, whole bool, value func(to *column.Column, field int)) error {
	v := version{key: key, arrival: arrival, order: order, offset: -1, lateAt: len(k.bytes)}
	row := k.batch.Rows
	for i, field := range k.fields {
		value(&k.batch.Columns[i], field)
	}
	for _, i := range k.late {
		k.bytes = appendLate(k.bytes, &k.batch.Columns[i], row)
	}
	v.lateTo = len(k.bytes)
	if whole {
		v.offset = row
		k.batch.Rows++
	} else {
		for i := range k.batch.Columns {
			truncate(&k.batch.Columns[i], row)
		}
	}
	k.pending = append(k.pending, v)
	if len(k.pending) == assembleRows {
		return k.flush()
	}
	return nil
}

// truncate takes back what was appended behind n values.
func truncate(c *column.Column, n int) {
	switch c.Type {
	case column.Bool, column.Float64:
		c.Numbers = c.Numbers[:n]
	case column.String:
		c.Texts = c.Texts[:n]
	default:
		c.Ints = c.Ints[:n]
	}
	if c.Nulls = c.Nulls[:min(len(c.Nulls), n)]; len(c.Nulls) == 0 {
		c.Nulls = nil
	}
}

// appendLate appends a value: 0 for a null, or 1 and the value.
func appendLate(to []byte, c *column.Column, row int) []byte {
	if c.Null(row) {
		return append(to, 0)
	}
	to = append(to, 1)
	switch c.Type {
	case column.Bool, column.Float64:
		return binary.LittleEndian.AppendUint64(to, math.Float64bits(c.Numbers[row]))
	case column.String:
		return append(binary.AppendUvarint(to, uint64(len(c.Texts[row]))), c.Texts[row]...)
	}
	return binary.LittleEndian.AppendUint64(to, uint64(c.Ints[row]))
}

// cutLate returns the encoded value at the beginning of what appendLate wrote, and the rest.
func cutLate(b []byte, t column.Type) (value, rest []byte) {
	n := 1
	switch {
	case b[0] == 0:
	case t == column.String:
		length, size := binary.Uvarint(b[1:])
		n += size + int(length)
	default:
		n += 8
	}
	return b[:n], b[n:]
}

// setLate replaces a value of a column.
func setLate(c *column.Column, row int, value []byte) {
	if value[0] == 0 {
		setNull(c, row)
		return
	}
	value = value[1:]
	switch c.Type {
	case column.Bool, column.Float64:
		c.Numbers[row] = math.Float64frombits(binary.LittleEndian.Uint64(value))
		return
	case column.String:
		_, size := binary.Uvarint(value)
		c.Texts[row] = string(value[size:])
	default:
		c.Ints[row] = int64(binary.LittleEndian.Uint64(value))
	}
	if row < len(c.Nulls) {
		c.Nulls[row] = false
	}
}

// rows takes a slice of an input. s is the source itself.
func (c *candidates) rows(slice int, s *definition.Source, b *column.Batch) error {
	k := c.collector(slice)
	for row := range b.Rows {
		time, arrival, ok := times(s, b, row)
		if !ok || arrival > c.asOf {
			c.drop(ok)
			continue
		}
		k.id = appendID(k.id[:0], s, b, row)
		key := [2]uint64{window.KeyOf(unsafe.String(unsafe.SliceData(k.id), len(k.id))), uint64(time)}
		whole := len(c.late) == 0 || slices.ContainsFunc(c.telling, func(f int) bool { return b.Columns[f].Len() > 0 && !b.Columns[f].Null(row) })
		err := k.add(key, arrival, 0, whole, func(to *column.Column, field int) { copyRow(to, &b.Columns[field], row) })
		if err != nil {
			return err
		}
	}
	return k.close()
}

// log takes a slice of the log.
func (c *candidates) log(slice int, s *definition.Source, places []int, scan iter.Seq[*offline.Record]) (err error) {
	k := c.collector(slice)
	for r := range scan {
		key := [2]uint64{window.KeyOf(r.ID), uint64(r.EventTime)}
		whole := len(c.late) == 0 || slices.ContainsFunc(c.telling, func(f int) bool { return places[f] >= 0 && !r.Values[places[f]].IsNull() })
		order := r.Sequence << 1
		if !whole {
			order |= 1
		}
		err = k.add(key, r.ArrivalTime, order, whole, func(to *column.Column, field int) {
			switch {
			case field == s.Arrival:
				to.AppendInt(r.ArrivalTime)
			case places[field] < 0:
				to.AppendNull()
			default:
				appendValue(to, r.Values[places[field]])
			}
		})
		if err != nil {
			return err
		}
	}
	return k.close()
}

// appendValue appends a value of the log to a column of its type.
func appendValue(to *column.Column, v offline.Value) {
	switch {
	case v.IsNull():
		to.AppendNull()
	case to.Type == column.Bool && v.Bool():
		to.AppendNumber(1)
	case to.Type == column.Bool:
		to.AppendNumber(0)
	case to.Type == column.Float64:
		to.AppendNumber(v.Float64())
	case to.Type == column.String:
		to.AppendText(strings.Clone(v.Text()))
	default:
		to.AppendInt(v.Int64())
	}
}

// decide settles all records, and hands the rows that remain to take, many at a time, with
// the projected fields. unknown has the rows of the batch with a late value that was not
// known by as-of.
func (c *candidates) decide(ctx context.Context, workers int, take func(b *column.Batch, unknown []bool, dropped, slice, part int) error) error {
	if err := c.versions.finish(); err != nil {
		return err
	}
	batches := c.mu.batches
	c.perBlock = max(1, (len(batches)+blocksMax-1)/blocksMax)
	c.verdicts = newShuffle(c.store, (len(batches)+c.perBlock-1)/c.perBlock)
	err := parallel(ctx, workers, c.versions.parts(), func() *judge { return &judge{candidates: c} }, (*judge).part)
	if err = errors.Join(err, c.verdicts.finish()); err != nil {
		return err
	}
	return parallel(ctx, workers, c.verdicts.parts(), func() *applier { return &applier{candidates: c, batch: c.newBatch()} },
		func(a *applier, n int) error { return a.block(n, take) })
}

// judge settles records, for one goroutine.
type judge struct {
	*candidates
	words  []uint64
	groups groups
	runs   runs
	bytes  []byte
}

func (j *judge) part(part int) (err error) {
	if j.words, err = j.versions.load(part, j.words); err != nil {
		return err
	}
	if len(j.words) > math.MaxInt32 {
		return errPartTooLarge
	}
	out := j.verdicts.spreader()
	defer j.verdicts.giveBack(out)
	n := 0
	for at := 0; at < len(j.words); n++ {
		at += versionHead + wordsFor(int(j.words[at+versionSize]))
	}
	j.groups.reset(2, n)
	j.runs.marks = j.runs.marks[:0]
	for at := 0; at < len(j.words); {
		j.runs.marks = append(j.runs.marks, moment{time: int64(j.words[at+versionArrival]), at: int32(at), number: int32(j.groups.add(j.words[at:]))})
		at += versionHead + wordsFor(int(j.words[at+versionSize]))
	}
	j.runs.arrange(j.groups.len())
	for k := range j.groups.len() {
		if err := j.settle(j.runs.of(k), out); err != nil {
			return err
		}
	}
	return nil
}

// compare orders records that arrived together: by place in the log, events before
// amendments, then by place among the inputs.
func (j *judge) compare(a, b int32) int {
	x, y := j.words[a:], j.words[b:]
	return cmp.Or(cmp.Compare(x[versionOrder], y[versionOrder]), cmp.Compare(x[versionPlace], y[versionPlace]))
}

// settle decides about the records of one id and time.
func (j *judge) settle(records []moment, out *spreader) error {
	sortTies(records, j.compare)
	first := slices.IndexFunc(records, func(m moment) bool { return j.words[m.at+versionOrder]&1 == 0 && j.whole(m) })
	if first < 0 {
		return nil // amendments of an event that nobody knows
	}
	what := uint64(verdictKeep)
	j.bytes = j.bytes[:0]
	for i := range j.late {
		value, unknown := j.latest(records, i)
		if unknown {
			what = verdictUnknown
		}
		j.bytes = append(j.bytes, value...)
	}
	for i, m := range records {
		if i < first || !j.whole(m) {
			continue
		}
		if i > first {
			what, j.bytes = verdictDuplicate, j.bytes[:0]
		}
		if err := j.verdict(j.words[m.at+versionRow], what, out); err != nil {
			return err
		}
	}
	return nil
}

// whole says that a record is an event: it has a row. Places begin with 1 in the first
// slice, so a row is never all zeros with its place.
func (j *judge) whole(m moment) bool { return j.words[m.at+versionPlace] != 0 }

// latest returns the value of a late field that was known last, by as-of, and whether
// there are any that were not.
func (j *judge) latest(records []moment, field int) (value []byte, unknown bool) {
	f := &j.source.Fields[j.late[field]]
	value = []byte{0}
	best := int64(math.MinInt64)
	for _, m := range records {
		record := j.words[m.at:]
		rest := bytesOf(record[versionHead:])[:record[versionSize]]
		var v []byte
		for i := 0; i <= field; i++ {
			v, rest = cutLate(rest, j.source.Fields[j.late[i]].Type)
		}
		if v[0] == 0 {
			continue
		}
		known := m.time
		if record[versionOrder]>>1 == 0 {
			known = knownAt(f, int64(record[1]), m.time)
		}
		if known > j.asOf {
			unknown = true
		} else if known >= best {
			best, value = known, v
		}
	}
	return value, unknown && value[0] == 0
}

func (j *judge) verdict(row, what uint64, out *spreader) error {
	words, err := out.record(batchOf(row)/j.perBlock, verdictHead+wordsFor(len(j.bytes)))
	if err != nil {
		return err
	}
	words[verdictRow], words[verdictWhat], words[verdictSize] = row, what, uint64(len(j.bytes))
	putBytes(words[verdictHead:], j.bytes)
	return nil
}

// applier applies verdicts to rows, for one goroutine.
type applier struct {
	*candidates
	words, rows []uint64
	at          [][]int32 // of the verdict of each row of each batch of the block, -1 for none
	batch       *column.Batch
	kept        *column.Batch
	unknown     []bool
}

func (a *applier) block(n int, take func(b *column.Batch, unknown []bool, dropped, slice, part int) error) (err error) {
	if a.words, err = a.verdicts.load(n, a.words); err != nil {
		return err
	}
	first := n * a.perBlock
	batches := a.mu.batches[first:min(first+a.perBlock, len(a.mu.batches))]
	a.at = resize(a.at, len(batches))
	for i := range batches {
		a.at[i] = resize(a.at[i], batches[i].rows)
		for k := range a.at[i] {
			a.at[i][k] = -1
		}
	}
	for at := 0; at < len(a.words); at += verdictHead + wordsFor(int(a.words[at+verdictSize])) {
		row := a.words[at+verdictRow]
		a.at[batchOf(row)-first][offsetOf(row)] = int32(at)
	}
	for i := range batches {
		b := &batches[i]
		if a.rows, err = a.store.append(a.rows[:0], b.blob); err != nil {
			return err
		}
		a.store.drop(b.blob)
		decodeBatch(a.batch, a.rows, b.rows)
		dropped, err := a.apply(a.at[i])
		if err == nil {
			err = take(a.kept, a.unknown, dropped, b.slice, b.part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply fills in late fields and leaves out the rows that are there again.
func (a *applier) apply(verdicts []int32) (dropped int, err error) {
	if a.kept == nil {
		a.kept = a.newBatch()
	}
	empty(a.kept)
	a.unknown = a.unknown[:0]
	for row, at := range verdicts {
		if at < 0 {
			return 0, fmt.Errorf("dataset: row %d of a batch was not decided about", row) // cannot be
		}
		verdict := a.words[at:]
		if verdict[verdictWhat] == verdictDuplicate {
			dropped++
			continue
		}
		rest := bytesOf(verdict[verdictHead:])[:verdict[verdictSize]]
		for _, i := range a.late {
			var v []byte
			v, rest = cutLate(rest, a.source.Fields[i].Type)
			setLate(&a.batch.Columns[i], row, v)
		}
		for i := range a.batch.Columns {
			copyRow(&a.kept.Columns[i], &a.batch.Columns[i], row)
		}
		a.kept.Rows++
		a.unknown = append(a.unknown, verdict[verdictWhat] == verdictUnknown)
	}
	return dropped, nil
}
