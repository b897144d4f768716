// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/millrace-ml/millrace/bench/loadgen"
)

// WriteLoad prints what one load measured for people.
func WriteLoad(out io.Writer, r *loadgen.Result) error {
	fmt.Fprintf(out, "\n%.0f requests/s, %.0f rows/s: %d answers in %.1f s, %d of them checked\n\n",
		r.RequestsPerSecond, r.RowsPerSecond, r.Requests, r.Seconds, r.Checked)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "microseconds\tmean\tp50\tp90\tp95\tp99\tp99.9\tmax\t")
	writePercentiles(table, "latency", r.Latency)
	if r.SendDelay != (loadgen.Percentiles{}) {
		writePercentiles(table, "until sent", r.SendDelay)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return writeTrouble(out, r)
}

func writePercentiles(out io.Writer, name string, p loadgen.Percentiles) {
	fmt.Fprintf(out, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n",
		name, p.MeanMicros, p.P50Micros, p.P90Micros, p.P95Micros, p.P99Micros, p.P999Micros, p.MaxMicros)
}

// writeTrouble prints errors and signs that the rate was beyond the server.
func writeTrouble(out io.Writer, r *loadgen.Result) error {
	if r.Overflow > 0 || r.Unsent > 0 {
		fmt.Fprintf(out, "\n%d requests were held back and %d never sent: the rate is beyond the server or the bound on requests in flight\n",
			r.Overflow, r.Unsent)
	}
	if r.Failed == 0 {
		return nil
	}
	fmt.Fprintf(out, "\n%d requests failed:\n", r.Failed)
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		f := r.Errors[kind]
		if _, err := fmt.Fprintf(out, "  %8d  %s, such as: %s\n", f.Count, kind, f.Example); err != nil {
			return err
		}
	}
	return nil
}
