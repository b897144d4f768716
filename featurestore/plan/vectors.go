// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Inputs ask for rows of a service.
type Inputs struct {
	Rows int
	// Keys are columns of Rows keys, as Service.Entities.
	Keys []column.Column
	// Request are columns of Rows values, as Service.Request.
	Request []column.Column
	// At is the moment asked for, in microseconds since 1970 UTC, of all rows. 0 takes the
	// service's time field of each row, or Now where it has none or it is null.
	At int64
	// Now is the current time, likewise.
	Now int64
}

// Vectors are the answer: rows of a service, features in the service's order. Its
// memory, that of texts too, is reused by the next read into it.
type Vectors struct {
	Rows, Width int
	// Numbers, Status and EventTimes have Rows*Width elements, row by row. A null, and the
	// place of a text, is NaN; a default has taken the place of what is not present, and
	// the status tells of it.
	Numbers []float64
	Status  []window.Status
	// EventTimes say when the newest event behind a value happened, 0 for none. They are
	// filled only if WantEventTimes was set.
	EventTimes     []int64
	WantEventTimes bool
	// Sequences has Rows*Tables elements, for each table that the service reads what
	// Seen.Sequence was: with it a read can be repeated from the event log. Filled only if
	// WantSequences was set.
	Sequences     []uint64
	WantSequences bool
	Tables        int
	// Texts has Rows*TextWidth elements: the text features in their order.
	Texts     []string
	TextWidth int
	kept      []byte // the bytes of texts
	// Missed is the largest error of a window's edge, in microseconds; 0 when all is exact.
	Missed int64
}

// keep copies a text into the vectors' own memory.
func (v *Vectors) keep(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	begin := len(v.kept)
	v.kept = append(v.kept, text...) // texts made before keep the old memory when it grows
	return unsafe.String(&v.kept[begin], len(text))
}

// Row returns the numbers of a row.
func (v *Vectors) Row(i int) []float64 { return v.Numbers[i*v.Width : (i+1)*v.Width] }

// StatusRow returns the statuses of a row.
func (v *Vectors) StatusRow(i int) []window.Status { return v.Status[i*v.Width : (i+1)*v.Width] }

// TextRow returns the texts of a row.
func (v *Vectors) TextRow(i int) []string { return v.Texts[i*v.TextWidth : (i+1)*v.TextWidth] }
