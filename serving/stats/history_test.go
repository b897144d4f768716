// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"flag"
	"os"
	"reflect"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

// inferenceTime is the time of all runs in these tests, in milliseconds.
const inferenceTime = 1_700_000_000_123

func newTestRegistry(histograms bool) *Registry {
	r := NewRegistry(Options{
		Histograms: histograms,
		Now:        func() time.Time { return time.UnixMilli(inferenceTime) },
	})
	r.lanes = newLaneSet(8) // more lanes than this machine may have
	r.host = newHost(fstest.MapFS{})
	return r
}

// recordHistory lets a model live through a bit of everything.
func recordHistory(r *Registry) *Model {
	m := r.Open(ID{Model: "ranker", Version: 3, Tags: map[string]string{"team": "search"}})
	m.SetLoadDuration(1500 * time.Millisecond)
	m.SetBatching(func() BatchingSnapshot {
		return BatchingSnapshot{
			Pending:    7,
			Dispatches: []Dispatches{{"idle", 2, 2}, {"full", 1, 8}},
			Rejections: []Rejections{{"queue_full", 4}, {"deadline", 0}},
		}
	})
	for range 2 {
		m.RecordBatch(Batch{Requests: 1, Rows: 1, InputNanos: 500, InferNanos: 4_000, OutputNanos: 300})
		m.RecordRequest(9_000, 1_000)
	}
	m.RecordBatch(Batch{Requests: 3, Rows: 8, InputNanos: 2_000, InferNanos: 20_000, OutputNanos: 6_001})
	for _, queue := range []int64{0, 100_000, 7_000_000_000} {
		m.RecordRequest(queue+30_000, queue)
	}
	m.RecordFailure(Rejected, 1_000)
	m.RecordFailure(Rejected, 2_000)
	m.RecordFailure(Backend, 40_000)
	m.RecordFailure(FailureReason(99), 5)
	for index, elapsed := range []time.Duration{100 * time.Millisecond, time.Second, 2 * time.Second} {
		m.RecordResponse(index, elapsed.Nanoseconds())
	}
	m.RecordResponse(0, (6 * time.Second).Nanoseconds())
	return m
}

// TestExposition compares the text of all metrics with what the history adds up to.
func TestExposition(t *testing.T) {
	for _, test := range []struct {
		file       string
		histograms bool
	}{
		{"testdata/history.prom", true},
		{"testdata/history_without_histograms.prom", false},
	} {
		r := newTestRegistry(test.histograms)
		recordHistory(r)
		r.Open(ID{Model: "idle", Version: 1})
		if *update {
			writeExposition(t, test.file, r)
		}
		want, err := os.Open(test.file)
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		if err := testutil.CollectAndCompare(r, want); err != nil {
			t.Errorf("%s: %v", test.file, err)
		}
	}
}

func writeExposition(t *testing.T, file string, c prometheus.Collector) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	if err := prometheus.WriteToTextfile(file, registry); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshot(t *testing.T) {
	r := newTestRegistry(true)
	recordHistory(r)
	got := r.Snapshot("ranker")
	want := []ModelSnapshot{{
		Model: "ranker", Version: 3,
		LastInferenceMillis: inferenceTime,
		InferenceCount:      10, ExecutionCount: 3,
		Success:       Duration{5, 2*9_000 + 3*30_000 + 7_000_100_000},
		Fail:          Duration{4, 43_005},
		Queue:         Duration{5, 2*1_000 + 7_000_100_000},
		ComputeInput:  Duration{5, 2*500 + 3*2_000},
		ComputeInfer:  Duration{5, 2*4_000 + 3*20_000},
		ComputeOutput: Duration{5, 2*300 + 3*6_001},
		Batches: []BatchSnapshot{
			{Size: 1, Runs: 2, InputNanos: 1_000, InferNanos: 8_000, OutputNanos: 600},
			{Size: 8, Runs: 1, InputNanos: 2_000, InferNanos: 20_000, OutputNanos: 6_001},
		},
		Responses: []Duration{{2, 6_100_000_000}, {1, 1_000_000_000}, {1, 2_000_000_000}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("snapshot is\n%+v\nwant\n%+v", got, want)
	}
}

// TestSnapshotWithoutHistograms: the option changes no count and no sum.
func TestSnapshotWithoutHistograms(t *testing.T) {
	with, without := newTestRegistry(true), newTestRegistry(false)
	recordHistory(with)
	recordHistory(without)
	if a, b := with.Snapshot(""), without.Snapshot(""); !reflect.DeepEqual(a, b) {
		t.Errorf("with histograms %+v\nwithout %+v", a, b)
	}
}
