// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// listMetrics prints the metrics that have names.
func listMetrics(w io.Writer) error {
	table := newTable(w, "METRIC\tTASKS\tBETTER\tWHAT IT IS")
	for _, d := range metric.Describe() {
		var tasks []string
		for _, t := range d.Tasks {
			tasks = append(tasks, t.String())
		}
		better := map[int]string{1: "higher", -1: "lower"}[d.Better]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", d.Usage, strings.Join(tasks, ", "), better, d.About)
	}
	return table.Flush()
}
