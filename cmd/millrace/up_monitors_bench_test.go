// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// cpuTime is what this process has used of processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWatch is what a decision costs the monitors that watch it: to read it from the
// log, to join it to its label, and to observe it. 20,000 decisions are made a second and one
// of 64 has an outcome. cpu-ns/op counts the time of processors, which other work on the
// machine does not change; take -benchtime=500000x.
func BenchmarkWatch(b *testing.B) {
	text := strings.NewReplacer("windows: [1d]", "windows: [1m, 1h]\n    lateness: 1s", "    slices: [country, answer]\n", "",
		"    quiet_max: 36h\n", "", "    alarms: {webhook: \"${MILLRACE_TEST_HOOK}\"}\n", "").Replace(watchMonitors)
	for _, test := range []struct{ name, monitors string }{
		{"plain", text},
		{"sliced", strings.Replace(text, "    draws", "    slices: [country, answer]\n    draws", 1)},
	} {
		b.Run(test.name, func(b *testing.B) {
			w := newWatchWorld(b, test.monitors)
			m := w.start()
			w.watch(m)
			w.burst(b.N)
			b.ResetTimer()
			began := cpuTime(b)
			for more := true; more || m.mark.now != 0; {
				var err error
				more, err = m.step(b.Context())
				w.must(err)
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
			if got := m.monitor.Counts().Predictions; got != int64(b.N) {
				b.Fatalf("it watched %d predictions", got)
			}
		})
	}
}

// burst logs n decisions of 50 µs each.
func (w *watchWorld) burst(n int) {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	var outcomes []groundtruth.Feedback
	for i := range n {
		w.at += 50
		amount, payments, score, fraud := example(rng, false)
		id := fmt.Sprintf("0198c2f5-7e1a-7cc3-98c4-%012x", i)
		w.decide(id, amount, payments, score)
		if i%64 == 0 {
			outcomes = append(outcomes, groundtruth.Feedback{PredictionID: id, Name: "is_fraud", Value: groundtruth.Bool(fraud), EventTime: w.at})
		}
		if len(outcomes) == 64 || i == n-1 {
			_, err := w.collector.Submit(w.t.Context(), outcomes)
			w.must(err)
			outcomes = outcomes[:0]
		}
	}
	w.at += 2000
	w.must(w.log.Sync(w.t.Context()))
}
