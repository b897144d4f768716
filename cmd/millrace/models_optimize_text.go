// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/engine/optimize"
)

// printOptimized writes a report for people.
func printOptimized(w io.Writer, r *optimize.Report) error {
	fmt.Fprintf(w, "nodes %d -> %d, bytes %d -> %d (%.1f%%)\n", r.NodesBefore, r.NodesAfter, r.BytesBefore, r.BytesAfter,
		100*float64(r.BytesAfter)/float64(max(1, r.BytesBefore)))
	fmt.Fprintf(w, "folded %d, merged %d, removed %d, inlined %d; fused: %s\n", r.Folded, r.Merged, r.Removed, r.Inlined, fusedText(r.Fused))
	for _, print := range []func(io.Writer, *optimize.Report) error{printLayers, printDifferences, printQuality, printTimings} {
		if err := print(w, r); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "\nnote: %s\n", note)
	}
	return nil
}

func fusedText(fused map[string]int) string {
	if len(fused) == 0 {
		return "nothing"
	}
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(fused)) {
		list = append(list, fmt.Sprintf("%s %d", kind, fused[kind]))
	}
	return strings.Join(list, ", ")
}

func printLayers(w io.Writer, r *optimize.Report) error {
	if len(r.Layers) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "PRODUCT\tWEIGHTS\tFORM\tERROR\tSQNR\tINPUT RANGE\tREMARK")
	for _, l := range r.Layers {
		relative, sqnr, input := "", "", ""
		if l.Error != nil {
			relative = fmt.Sprintf("%.3g", *l.Error)
		}
		if l.SQNR != nil {
			sqnr = fmt.Sprintf("%.1f dB", *l.SQNR)
		}
		if l.Input != nil {
			input = fmt.Sprintf("%.4g to %.4g", l.Input.Low, l.Input.High)
		}
		fmt.Fprintf(table, "%s\t%dx%d\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Rows, l.Columns, l.Form, relative, sqnr, input, l.Reason)
	}
	return table.Flush()
}

func printDifferences(w io.Writer, r *optimize.Report) error {
	if len(r.Accuracy) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nchange of the outputs on %d rows, %d at a time:\n", r.Rows, r.BatchSize)
	table := newTable(w, "ENGINE\tOUTPUT\tMAX\tMEAN\tMAX RELATIVE\tMEAN RELATIVE\tOTHER")
	for _, a := range r.Accuracy {
		for _, d := range a.Outputs {
			if strings.HasPrefix(d.Datatype, "FP") || d.Datatype == "BF16" {
				fmt.Fprintf(table, "%s\t%s\t%.3g\t%.3g\t%.3g\t%.3g\t%s\n", a.Engine, d.Output, d.MaxAbs, d.MeanAbs, d.MaxRelative, d.MeanRelative, otherText(d))
				continue
			}
			fmt.Fprintf(table, "%s\t%s\t\t\t\t\t%d of %d changed\n", a.Engine, d.Output, d.Changed, d.Elements)
		}
	}
	return table.Flush()
}

func otherText(d optimize.Difference) string {
	var list []string
	if d.ArgMaxRows > 0 {
		list = append(list, fmt.Sprintf("arg max changed in %d of %d", d.ArgMaxChanged, d.ArgMaxRows))
	}
	if d.Broken > 0 {
		list = append(list, fmt.Sprintf("%d finite on one side only", d.Broken))
	}
	return strings.Join(list, "; ")
}

func printQuality(w io.Writer, r *optimize.Report) error {
	if !slices.ContainsFunc(r.Accuracy, func(a optimize.Accuracy) bool { return len(a.Labels) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "ENGINE\tOUTPUT\tMETRIC\tBEFORE\tAFTER")
	for _, a := range r.Accuracy {
		for _, m := range a.Labels {
			fmt.Fprintf(table, "%s\t%s\t%s\t%.6g\t%.6g\n", a.Engine, m.Output, m.Name, m.Before, m.After)
		}
	}
	return table.Flush()
}

func printTimings(w io.Writer, r *optimize.Report) error {
	if len(r.Timings) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "ENGINE\tROWS\tTIME PER ROW\tAFTER\tSPEED-UP")
	for _, t := range r.Timings {
		fmt.Fprintf(table, "%s\t%d\t%v\t%v\t%.2fx\n", t.Engine, t.Rows, roundTime(t.Before), roundTime(t.After), float64(t.Before)/float64(max(1, t.After)))
	}
	return table.Flush()
}

// roundTime keeps four digits.
func roundTime(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 10_000 {
		unit *= 10
	}
	return d.Round(unit)
}
