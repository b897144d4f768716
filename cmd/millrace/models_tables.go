// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// newTable writes columns separated by tabs as an aligned table.
func newTable(w io.Writer, header string) *tabwriter.Writer {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, header)
	return table
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func printModels(w io.Writer, answer *millracev1.ListModelsResponse) error {
	table := newTable(w, "MODEL\tVERSION\tSTATE\tCURRENT\tALIASES\tBACKEND\tINSTANCES\tIN FLIGHT\tLOADED\tLOAD TIME\tREASON")
	for _, v := range answer.Versions {
		current, loaded := "", ""
		if v.Current {
			current = "*"
		}
		if v.LoadedUnixMillis > 0 {
			loaded = time.UnixMilli(v.LoadedUnixMillis).Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%v\t%s\n", v.Model, versionName(v.Version), v.State, current,
			strings.Join(v.Aliases, ","), v.Backend, v.Instances, v.InFlight, loaded, micros(v.LoadMicros), v.Reason)
	}
	return table.Flush()
}

func printSteps(w io.Writer, steps []*millracev1.Step) error {
	table := newTable(w, "STEP\tTIME\tDETAIL")
	for _, step := range steps {
		fmt.Fprintf(table, "%s\t%v\t%s\n", step.Name, micros(step.Micros), step.Detail)
	}
	return table.Flush()
}

func printLoad(w io.Writer, answer *millracev1.LoadVersionResponse) error {
	if answer.AlreadyReady {
		_, err := fmt.Fprintln(w, "already ready")
		return err
	}
	return printSteps(w, answer.Steps)
}

func printUnload(w io.Writer, answer *millracev1.UnloadVersionResponse) error {
	return printSteps(w, answer.Steps)
}

func printSwap(w io.Writer, answer *millracev1.SwapVersionResponse) error {
	from := "no version"
	if answer.FromVersion != 0 {
		from = "version " + versionName(answer.FromVersion)
	}
	fmt.Fprintf(w, "%s: %s -> version %d in %v\n", answer.Model, from, answer.ToVersion, micros(answer.TotalMicros))
	return printSteps(w, answer.Steps)
}

func printAlias(w io.Writer, request *millracev1.SetAliasRequest, answer *millracev1.SetAliasResponse) error {
	now, before := "removed", ""
	if request.Version != 0 {
		now = "-> version " + versionName(request.Version)
	}
	if answer.PreviousVersion != 0 {
		before = fmt.Sprintf(" (was version %d)", answer.PreviousVersion)
	}
	_, err := fmt.Fprintf(w, "%s alias %s %s%s\n", request.Model, request.Alias, now, before)
	return err
}

func printAliases(w io.Writer, answer *millracev1.ListAliasesResponse) error {
	table := newTable(w, "MODEL\tALIAS\tVERSION")
	for _, a := range answer.Aliases {
		fmt.Fprintf(table, "%s\t%s\t%d\n", a.Model, a.Alias, a.Version)
	}
	return table.Flush()
}

func printBatching(w io.Writer, answer *millracev1.ExplainBatchingResponse) error {
	fmt.Fprintf(w, "%s version %d: batches of up to %d rows on %d instances, %d requests waiting\n",
		answer.Model, answer.Version, answer.MaxBatchSize, answer.Instances, answer.Queued)
	fmt.Fprintf(w, "refused: %d for a full queue, %d for a deadline; cancelled: %d\n%s\n\n",
		answer.RejectedQueueFull, answer.RejectedDeadline, answer.Cancelled, answer.Summary)

	reasons := newTable(w, "DISPATCHED BECAUSE\tBATCHES\tROWS\tMEANING")
	for _, r := range answer.Reasons {
		if r.Dispatches > 0 {
			fmt.Fprintf(reasons, "%s\t%d\t%d\t%s\n", r.Reason, r.Dispatches, r.Rows, r.Meaning)
		}
	}
	fmt.Fprintln(reasons)
	sizes := newTable(w, "BATCH SIZE\tBATCHES")
	for _, s := range answer.BatchSizes {
		fmt.Fprintf(sizes, "%d\t%d\n", s.Rows, s.Dispatches)
	}
	fmt.Fprintln(sizes)
	latencies := newTable(w, "ROWS\tMEAN\tPLANNED WITH\tOBSERVATIONS")
	for _, l := range answer.Latencies {
		fmt.Fprintf(latencies, "%d\t%v\t%v\t%d\n", l.Rows, micros(l.MeanMicros), micros(l.PlannedMicros), l.Observations)
	}
	return errors.Join(reasons.Flush(), sizes.Flush(), latencies.Flush())
}

func printStatistics(w io.Writer, answer *inference.ModelStatisticsResponse) error {
	table := newTable(w, "MODEL\tVERSION\tREQUESTS\tFAILED\tROWS\tRUNS\tROWS/RUN\tMEAN REQUEST\tQUEUE\tINPUT\tINFER\tOUTPUT")
	for _, m := range answer.ModelStats {
		s := m.InferenceStats
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%v\t%v\t%v\t%v\t%v\n", m.Name, m.Version,
			s.GetSuccess().GetCount(), s.GetFail().GetCount(), m.InferenceCount, m.ExecutionCount,
			ratio(m.InferenceCount, m.ExecutionCount), mean(s.GetSuccess()), mean(s.GetQueue()),
			mean(s.GetComputeInput()), mean(s.GetComputeInfer()), mean(s.GetComputeOutput()))
	}
	return table.Flush()
}

func ratio(a, b uint64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(a)/float64(b))
}

// mean is the mean of a cumulative duration, rounded for reading.
func mean(d *inference.StatisticDuration) time.Duration {
	if d.GetCount() == 0 {
		return 0
	}
	return time.Duration(d.GetNs() / d.GetCount()).Round(100 * time.Nanosecond)
}
