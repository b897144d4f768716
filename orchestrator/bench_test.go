// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkCachedPipeline runs a pipeline all of whose tasks are in the cache: what it costs
// per task is the orchestrator's own. Every task has an input, a template and an output.
//
//	go test -run - -bench CachedPipeline ./orchestrator
func BenchmarkCachedPipeline(b *testing.B) {
	for _, verify := range []bool{false, true} {
		for _, tasks := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("tasks=%d/verify=%v", tasks, verify), func(b *testing.B) {
				var text strings.Builder
				text.WriteString("pipelines:\n  p:\n    parameters: {word: hello}\n    tasks:\n      t0: {uses: join, with: {text: t}, outputs: [o]}\n")
				for i := 1; i < tasks; i++ {
					fmt.Fprintf(&text, "      t%d: {uses: join, inputs: {x: t%d.o}, with: {text: \"%d{{ params.word }}\"}, outputs: [o]}\n", i, i*7/8, i)
				}
				x := &executed{}
				r := openRunner(b, Options{Pipelines: parse(b, text.String()), Kinds: []Kind{joinKind(x)}, Verify: verify})
				if _, err := r.Run(b.Context(), "p", RunOptions{}); err != nil {
					b.Fatal(err)
				}
				x.take()
				for b.Loop() {
					if _, err := r.Run(b.Context(), "p", RunOptions{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*tasks), "µs/task")
				if got := x.take(); got != "" {
					b.Errorf("executed %s", got)
				}
			})
		}
	}
}
