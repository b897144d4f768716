// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/training/runs"
)

// runColumnsMax bounds the metrics that a list shows unless told which.
const runColumnsMax = 4

// printRuns lists runs, with the column that they are ordered by first.
func printRuns(w io.Writer, list []runs.Run, orderBy string, columns []string) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no runs")
		return err
	}
	if columns == nil {
		columns = frequentMetrics(list)
	}
	if orderBy != "" {
		columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == orderBy })
		columns = append([]string{orderBy}, columns...)
	}
	header := []string{"ID", "STARTED", "TIME", "STATUS", "EXPERIMENT", "METHOD", "NAME"}
	for _, c := range columns {
		header = append(header, strings.TrimPrefix(c, "metrics."))
	}
	table := newTable(w, strings.Join(header, "\t"))
	for i := range list {
		r := &list[i]
		cells := []string{r.ID, r.Started.Local().Format(time.DateTime), runTime(r), string(r.Status), clean(r.Experiment), clean(r.Method), clean(r.Name)}
		for _, c := range columns {
			cells = append(cells, runCell(r, c))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// frequentMetrics are those that the most runs have.
func frequentMetrics(list []runs.Run) []string {
	count := map[string]int{}
	for i := range list {
		for name := range list[i].Metrics {
			count["metrics."+name]++
		}
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	return names[:min(len(names), runColumnsMax)]
}

// runCell is a value of a run by the name that filters use.
func runCell(r *runs.Run, column string) string {
	kind, name, _ := strings.Cut(column, ".")
	switch kind {
	case "metrics":
		if m, ok := r.Metrics[name]; ok {
			return number(m.Value)
		}
	case "params", "parameters":
		if v, ok := r.Parameters[name]; ok {
			return plain(v)
		}
	case "tags":
		return clean(r.Tags[name])
	}
	return "-"
}

// number has six digits, which tell models apart.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func plain(v any) string {
	switch v := v.(type) {
	case float64:
		return number(v)
	case *runs.Metric:
		return metricText(*v)
	case nil:
		return "-"
	}
	return clean(fmt.Sprint(v))
}

// clean keeps a text within its cell.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
}

func metricText(m runs.Metric) string {
	if m.Lower == nil || m.Upper == nil {
		return number(m.Value)
	}
	return fmt.Sprintf("%s (%s to %s)", number(m.Value), number(*m.Lower), number(*m.Upper))
}

// runTime is how long a run took, or takes.
func runTime(r *runs.Run) string {
	end := r.Ended
	if end.IsZero() {
		end = time.Now()
	}
	d := end.Sub(r.Started)
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// printRun shows all of a run but its manifest, which is for programs.
func printRun(w io.Writer, r *runs.Run) error {
	table := newTable(w, "run\t"+r.ID)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, clean(value))
		}
	}
	line("experiment", r.Experiment)
	line("name", r.Name)
	line("status", string(r.Status))
	line("started", r.Started.Local().Format(time.DateTime)+", "+runTime(r))
	line("method", r.Method)
	line("parent", r.Parent)
	line("seed", strconv.FormatUint(r.Seed, 10))
	line("data", r.DataHash)
	line("code", r.CodeHash)
	line("commit", r.GitCommit)
	line("artefact", strings.TrimSpace(r.Artifact.Path+" "+r.Artifact.Digest))
	for _, name := range slices.Sorted(maps.Keys(r.Tags)) {
		line("tag "+name, r.Tags[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		line("version "+name, r.Versions[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Error != "" {
		fmt.Fprintf(w, "\n%s\n", r.Error)
	}
	if err := section(w, "PARAMETER\tVALUE", r.Parameters, plain); err != nil {
		return err
	}
	if err := section(w, "METRIC\tVALUE", r.Metrics, func(m runs.Metric) string { return metricText(m) }); err != nil {
		return err
	}
	return section(w, "CURVE\tFIRST\tLAST\tLEAST\tMOST\tSTEPS", r.Curves, curveText)
}

func section[V any](w io.Writer, header string, values map[string]V, text func(V) string) error {
	if len(values) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, header)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(table, "%s\t%s\n", clean(name), text(values[name]))
	}
	return table.Flush()
}

// curveText is a curve in a line: ends, range, and its course.
func curveText(points []runs.Point) string {
	least, most := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		if !math.IsNaN(p.Value) {
			least, most = min(least, p.Value), max(most, p.Value)
		}
	}
	first, last := points[0], points[len(points)-1]
	if least > most {
		least, most = math.NaN(), math.NaN()
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d to %d  %s", number(first.Value), number(last.Value), number(least), number(most), first.Step, last.Step, sparkline(points, least, most))
}

// sparkWidth bounds the letters of a sparkline.
const sparkWidth = 40

// sparkline draws a curve with bars of eight heights, one for each of some spans of
// points, by their mean.
func sparkline(points []runs.Point, least, most float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	heights := []rune(bars)
	width := min(len(points), sparkWidth)
	line := make([]rune, width)
	for i := range line {
		sum, n := 0.0, 0
		for _, p := range points[i*len(points)/width : (i+1)*len(points)/width] {
			if !math.IsNaN(p.Value) {
				sum, n = sum+p.Value, n+1
			}
		}
		switch {
		case n == 0:
			line[i] = ' '
		case most == least:
			line[i] = heights[0]
		default:
			place := (sum/float64(n) - least) / (most - least) * float64(len(heights)-1)
			line[i] = heights[min(max(int(math.Round(place)), 0), len(heights)-1)]
		}
	}
	return string(line)
}

// printComparison has a column for each run.
func printComparison(w io.Writer, c *runs.Comparison) error {
	header := ""
	for i := range c.Runs {
		header += "\t" + c.Runs[i].ID
	}
	table := newTable(w, header)
	for _, part := range []struct {
		prefix string
		rows   []runs.Difference
	}{{"", c.Fields}, {"params.", c.Parameters}, {"tags.", c.Tags}, {"version ", c.Versions}, {"metrics.", c.Metrics}} {
		for _, d := range part.rows {
			cells := []string{clean(part.prefix + d.Name)}
			for _, v := range d.Values {
				cells = append(cells, plain(v))
			}
			fmt.Fprintln(table, strings.Join(cells, "\t"))
		}
	}
	return table.Flush()
}
