// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"container/heap"
	"context"
	"errors"
)

// input is a source of a merge. It is opened when the merge reaches its first event.
type input struct {
	open  func(ctx context.Context) (source, error)
	first int64 // no event of it is earlier
	src   source
}

func (in *input) before(other *input) bool {
	if in.src != nil && other.src != nil {
		return compareRecords(in.src.record(), other.src.record()) < 0
	}
	a, b := in.at(), other.at()
	return a < b || (a == b && in.src == nil && other.src != nil)
}

func (in *input) at() int64 {
	if in.src == nil {
		return in.first
	}
	return in.src.record().EventTime
}

type inputHeap []*input

func (h inputHeap) Len() int           { return len(h) }
func (h inputHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h inputHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *inputHeap) Push(x any)        { *h = append(*h, x.(*input)) }
func (h *inputHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}

// merger merges sources into one in the order of compareRecords.
type merger struct {
	inputs  inputHeap
	started bool
}

func newMerger(inputs []*input) *merger {
	m := &merger{inputs: inputs}
	heap.Init(&m.inputs)
	return m
}

// next moves to the following record; false at the end.
func (m *merger) next(ctx context.Context) (bool, error) {
	if m.started && len(m.inputs) > 0 {
		if err := m.advance(ctx); err != nil {
			return false, err
		}
	}
	m.started = true
	for len(m.inputs) > 0 && m.inputs[0].src == nil {
		src, err := m.inputs[0].open(ctx)
		if err != nil {
			return false, err
		}
		m.inputs[0].src = src
		if err := m.advance(ctx); err != nil {
			return false, err
		}
	}
	return len(m.inputs) > 0, nil
}

// advance moves the first source on, and drops it when it is at its end.
func (m *merger) advance(ctx context.Context) error {
	more, err := m.inputs[0].src.next(ctx)
	if err != nil {
		return err
	}
	if more {
		heap.Fix(&m.inputs, 0)
		return nil
	}
	return heap.Pop(&m.inputs).(*input).src.close()
}

// record is the current one.
func (m *merger) record() *Record { return m.inputs[0].src.record() }

func (m *merger) close() error {
	var err error
	for _, in := range m.inputs {
		if in.src != nil {
			err = errors.Join(err, in.src.close())
		}
	}
	m.inputs = nil
	return err
}

// newest passes over the older versions of an event, which follow the newest.
type newest struct {
	id    []byte
	event int64
	any   bool
}

// isOld tells whether a newer version of the record was just there.
func (n *newest) isOld(r *Record) bool {
	if n.any && r.EventTime == n.event && r.ID == string(n.id) {
		return true
	}
	n.id, n.event, n.any = append(n.id[:0], r.ID...), r.EventTime, true
	return false
}
