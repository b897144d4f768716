// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRecordAllocatesNothing(t *testing.T) {
	m := newTestRegistry(true).Open(ID{Model: "m", Version: 1})
	record := func() {
		m.RecordBatch(Batch{Requests: 4, Rows: 400, InputNanos: 1, InferNanos: 2, OutputNanos: 3})
		m.RecordRequest(100_000, 1_000)
		m.RecordFailure(Canceled, 1_000)
		m.RecordResponse(3, 1_000)
	}
	// A collection during the test may empty the pool of lanes, whose buffer is then
	// made again: the average of many rounds is still 0.
	if n := testing.AllocsPerRun(1000, record); n != 0 {
		t.Errorf("recording allocates %v times, want 0", n)
	}
}

// TestConcurrentSums: no count is lost among goroutines, new batch sizes and reads.
func TestConcurrentSums(t *testing.T) {
	const goroutines, rounds = 8, 2000
	r := newTestRegistry(true)
	m := r.Open(ID{Model: "m", Version: 1})
	var writers sync.WaitGroup
	for g := range goroutines {
		writers.Go(func() {
			for i := range rounds {
				m.RecordBatch(Batch{Requests: 2, Rows: 1 + (i+g)%50, InputNanos: 1, InferNanos: 10, OutputNanos: 100})
				m.RecordRequest(int64(i), 5)
				m.RecordFailure(FailureReason(i%int(reasonCount)), 3)
				m.RecordResponse(i%3, 7)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for previous, running := uint64(0), true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		s := r.Snapshot("m")[0]
		if s.ExecutionCount < previous {
			t.Fatalf("execution count went from %d back to %d", previous, s.ExecutionCount)
		}
		previous = s.ExecutionCount
	}

	const n = goroutines * rounds
	s := r.Snapshot("m")[0]
	rows := uint64(0)
	for g := range goroutines {
		for i := range rounds {
			rows += uint64(1 + (i+g)%50)
		}
	}
	responses := uint64(0)
	for _, d := range s.Responses {
		responses += d.Count
	}
	for what, pair := range map[string][2]any{
		"success":   {s.Success, Duration{n, goroutines * rounds * (rounds - 1) / 2}},
		"queue":     {s.Queue, Duration{n, 5 * n}},
		"fail":      {s.Fail, Duration{n, 3 * n}},
		"input":     {s.ComputeInput, Duration{2 * n, 2 * n}},
		"infer":     {s.ComputeInfer, Duration{2 * n, 20 * n}},
		"output":    {s.ComputeOutput, Duration{2 * n, 200 * n}},
		"runs":      {s.ExecutionCount, uint64(n)},
		"rows":      {s.InferenceCount, rows},
		"sizes":     {len(s.Batches), 50},
		"responses": {responses, uint64(n)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
}

// TestBatchSizesAreBounded: sizes beyond the bound share an entry and lose nothing.
func TestBatchSizesAreBounded(t *testing.T) {
	r := newTestRegistry(false)
	m := r.Open(ID{Model: "m", Version: 1})
	rows := uint64(0)
	for size := 1; size <= sizesMax+10; size++ {
		m.RecordBatch(Batch{Requests: 1, Rows: size})
		rows += uint64(size)
	}
	m.RecordBatch(Batch{Requests: 1, Rows: -1})
	s := r.Snapshot("m")[0]
	if len(s.Batches) != sizesMax+1 || s.Batches[0].Size != otherSizes || s.Batches[0].Runs != 11 {
		t.Errorf("%d sizes, first %+v; want %d with 11 runs of size 0", len(s.Batches), s.Batches[0], sizesMax+1)
	}
	if s.InferenceCount != rows || s.ExecutionCount != sizesMax+11 {
		t.Errorf("%d rows in %d runs, want %d in %d", s.InferenceCount, s.ExecutionCount, rows, sizesMax+11)
	}
}

func TestResponsesAreBounded(t *testing.T) {
	r := newTestRegistry(false)
	m := r.Open(ID{Model: "m", Version: 1})
	for _, index := range []int{responsesMax - 1, responsesMax, math.MaxInt, -1} {
		m.RecordResponse(index, 2)
	}
	responses := r.Snapshot("m")[0].Responses
	if len(responses) != responsesMax {
		t.Fatalf("%d indices are kept, want %d", len(responses), responsesMax)
	}
	if first, last := responses[0], responses[responsesMax-1]; first != (Duration{1, 2}) || last != (Duration{3, 6}) {
		t.Errorf("first is %v, last %v", first, last)
	}
}

// TestReload: the newest of two loads of a version is seen, and counts from zero.
func TestReload(t *testing.T) {
	r := newTestRegistry(true)
	id := ID{Model: "m", Version: 1}
	successes := func() []uint64 {
		var counts []uint64
		for _, s := range r.Snapshot("") {
			counts = append(counts, s.Success.Count)
		}
		if problems, err := testutil.CollectAndLint(r, "millrace_batch_rows"); err != nil || len(problems) > 0 {
			t.Errorf("collect: %v, %v", err, problems)
		}
		return counts
	}
	expect := func(step string, want ...uint64) {
		t.Helper()
		if got := successes(); !slices.Equal(got, want) {
			t.Errorf("%s: successes are %v, want %v", step, got, want)
		}
	}
	first := r.Open(id)
	first.RecordRequest(1, 1)
	expect("loaded", 1)
	failed := r.Open(id)
	expect("reloading", 0)
	r.Close(failed)
	expect("reload failed", 1)
	second := r.Open(id)
	r.Close(first)
	second.RecordRequest(1, 1)
	second.RecordRequest(1, 1)
	expect("reloaded", 2)
	r.Open(ID{Model: "m", Version: 2})
	expect("two versions", 2, 0)
	r.Close(second)
	r.Close(second)
	expect("unloaded", 0)
	if got := r.Snapshot("other"); got != nil {
		t.Errorf("snapshot of an unknown model is %v, want none", got)
	}
}
