// SPDX-License-Identifier: Apache-2.0

// Package report holds what benchmarks found, with what is needed to judge it: the
// machine, the commit and the options. It writes JSON for machines and tables for
// people.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is the outcome of one benchmark or suite.
type Report struct {
	// Name is the suite's or workload's.
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit"`
	Options any       `json:"options"`
	// Rows compare values with targets, where there are any.
	Rows []Row `json:"rows,omitempty"`
	// Details is whatever was measured on the way.
	Details any `json:"details"`
}

// New starts a report of this process on this machine.
func New(name string, options any) *Report {
	return &Report{Name: name, Started: time.Now().UTC(), Machine: ThisMachine(), Commit: Commit(), Options: options}
}

// Write writes the report as JSON, for a file name of "-" to out. A file appears
// whole or not at all.
func (r *Report) Write(path string, out io.Writer) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report %q: %w", r.Name, err)
	}
	text = append(text, '\n')
	if path == "-" {
		_, err := out.Write(text)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("report %q: %w", r.Name, err)
	}
	if err := writeWhole(path, text); err != nil {
		return fmt.Errorf("report %q: %w", r.Name, err)
	}
	return nil
}

func writeWhole(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails, as it should, once the file is renamed
	_, err = file.Write(text)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644)
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// Row compares one value with its target.
type Row struct {
	Name string `json:"name"`
	// Value is nil when it was not measured; Note says why.
	Value  *float64 `json:"value"`
	Target Target   `json:"target"`
	Holds  bool     `json:"holds"`
	Note   string   `json:"note,omitempty"`
}

// NewRow compares a value with its target.
func NewRow(name string, value float64, target Target) Row {
	return Row{Name: name, Value: &value, Target: target, Holds: target.Holds(value)}
}

// NotMeasured is a row without a value, which does not hold.
func NotMeasured(name string, target Target, why string) Row {
	return Row{Name: name, Target: target, Note: why}
}

// Target is a bound on a value.
type Target struct {
	bound   float64
	atLeast bool
	unit    string
}

// AtLeast is met by values of the bound and above.
func AtLeast(bound float64) Target { return Target{bound: bound, atLeast: true} }

// AtMost is met by values of the bound and below.
func AtMost(bound float64) Target { return Target{bound: bound} }

// In gives the target a unit, for people.
func (t Target) In(unit string) Target {
	t.unit = unit
	return t
}

// Holds reports whether a value meets the target; one that is not a number never does.
func (t Target) Holds(value float64) bool {
	if t.atLeast {
		return value >= t.bound
	}
	return value <= t.bound
}

// String is the target as people write it, such as ">= 0.75".
func (t Target) String() string {
	relation := "<="
	if t.atLeast {
		relation = ">="
	}
	text := relation + " " + strconv.FormatFloat(t.bound, 'g', -1, 64)
	if t.unit != "" {
		text += " " + t.unit
	}
	return text
}

// MarshalText writes the target as String does.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// WriteTable prints the rows for people.
func (r *Report) WriteTable(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tvalue\ttarget\tholds")
	for _, row := range r.Rows {
		value, holds := "not measured: "+row.Note, "no"
		if row.Value != nil {
			value = strconv.FormatFloat(*row.Value, 'f', decimals(*row.Value), 64)
		}
		if row.Holds {
			holds = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", row.Name, value, row.Target, holds)
	}
	return table.Flush()
}

// decimals shows whole numbers as such and others with enough digits to compare.
func decimals(value float64) int {
	if value == float64(int64(value)) {
		return 0
	}
	return 3
}
