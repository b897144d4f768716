// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"
	"unsafe"
)

// reusedRows are rows whose texts are in memory that the next row is written to, as those of
// a log are.
type reusedRows struct {
	memory []byte
	row    backtestRow
	at     int64
	rows   int64
}

func (r *reusedRows) next() (*backtestRow, error) {
	if r.at++; r.at > r.rows {
		return nil, nil
	}
	copy(r.memory, fmt.Sprintf("row%05d", r.at))
	text := unsafe.String(unsafe.SliceData(r.memory), len(r.memory))
	r.row = backtestRow{label: 1, time: r.at, known: r.at + 3}
	r.row.prediction.ID, r.row.prediction.Time = text, r.at
	r.row.prediction.Texts = []string{text}
	return &r.row, nil
}

// TestArrivalsHoldNoRow: outcomes wait for their moment while further rows are read, and are
// those of their predictions all the same; so are the rows of a reference.
func TestArrivalsHoldNoRow(t *testing.T) {
	events := &arrivals{rows: &reusedRows{memory: make([]byte, 8), rows: 10}}
	told := 0
	for {
		e, ok, err := events.next()
		if err != nil {
			t.Fatal(err)
		} else if !ok {
			break
		}
		if e.Outcome != nil {
			told++
			if want := fmt.Sprintf("row%05d", e.Outcome.Time); e.Outcome.ID != want {
				t.Errorf("the outcome of %s is of %s", want, e.Outcome.ID)
			}
		}
	}
	if told != 10 {
		t.Errorf("%d outcomes", told)
	}
	const day = 24 * 3600 * 1_000_000
	first, _, next, err := firstDays(t.Context(), &spacedRows{reusedRows{memory: make([]byte, 8), rows: 10}, day / 4}, 1, 100)
	if err != nil || len(first) != 4 || next == nil {
		t.Fatalf("%d rows, %v", len(first), err)
	}
	for i, p := range first {
		if want := fmt.Sprintf("row%05d", i+1); p.ID != want || p.Texts[0] != want {
			t.Errorf("row %d of the reference is %s with %s", i, p.ID, p.Texts)
		}
	}
}

// spacedRows are rows that are apart.
type spacedRows struct {
	reusedRows
	apart int64
}

func (r *spacedRows) next() (*backtestRow, error) {
	row, err := r.reusedRows.next()
	if row != nil {
		row.prediction.Time *= r.apart
	}
	return row, err
}
