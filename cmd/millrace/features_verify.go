// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/dataset"
)

// verifyFlags are those of `features verify`.
type verifyFlags struct {
	options         dataset.VerifyOptions
	state           stateFlags
	since, to, kept momentFlag
	memory          bytesFlag
}

// parity is what `features verify` answers.
type parity struct {
	Vectors    int64            `json:"vectors"`
	Compared   int64            `json:"compared"`
	Mismatched int64            `json:"mismatched"`
	Skipped    map[string]int64 `json:"skipped,omitempty"`
	Features   []featureParity  `json:"features"`
}

type featureParity struct {
	Service       string      `json:"service"`
	Feature       string      `json:"feature"`
	Compared      int64       `json:"compared"`
	Mismatched    int64       `json:"mismatched"`
	Missing       int64       `json:"missing"`
	Extra         int64       `json:"extra"`
	Status        int64       `json:"status"`
	DifferenceMax any         `json:"difference_max"`
	Inexact       int64       `json:"inexact"`
	Examples      []unequally `json:"examples,omitempty"`
}

// unequally is a value that was served otherwise than the log says it should have been.
type unequally struct {
	Stream         string   `json:"stream"`
	ID             string   `json:"id"`
	Sequence       uint64   `json:"sequence"`
	At             string   `json:"at"`
	Keys           []string `json:"keys"`
	Served         string   `json:"served"`
	Computed       string   `json:"computed"`
	ServedStatus   string   `json:"served_status"`
	ComputedStatus string   `json:"computed_status"`
}

func (o *featuresOptions) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compute served vectors again from the event log and compare",
		Long: `Compute the feature vectors that were served, as decisions logged them, again from the
events in the log alone, and compare them bit for bit. The status is 1 if one differs.

MISSING values were not served though there should have been one, EXTRA ones the other
way round; STATUS counts values that were right but for their status. Vectors that can
no longer be computed are skipped, with the reason. A server may have the folder open; what
it serves meanwhile is not looked at. millrace up verifies by itself while it runs.`,
		Example: `  millrace features verify
  millrace features verify --state /var/lib/millrace/state --since 7d
  millrace features verify --service fraud --examples 20 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.verify(cmd, &f) },
	}
	flags := cmd.Flags()
	o.addDefinitions(flags)
	f.state.addDir(flags)
	flags.StringVar(&f.options.Service, "service", "", "`name` of the one feature service to verify (default: all)")
	flags.Var(&f.since, "since", "leave out vectors of moments before this")
	flags.Var(&f.to, "to", "leave out vectors of moments from this on")
	flags.Var(&f.kept, "kept", "since when the log has all events; vectors that may rest on older ones are skipped (default: by the retention of millrace.yaml)")
	flags.IntVar(&f.options.Examples, "examples", 0, "`number` of mismatches to list for each feature (default 5)")
	flags.IntVar(&f.options.Workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	flags.Var(&f.memory, "memory", "bound on what is held in memory; the rest waits in temporary files (default 512MiB)")
	flags.StringVar(&f.options.TempDir, "temp-dir", "", "`folder` for temporary files (default: the system's)")
	return cmd
}

func (o *featuresOptions) verify(cmd *cobra.Command, f *verifyFlags) (err error) {
	if f.options.Catalog, err = o.catalog(); err != nil {
		return err
	}
	dir, owner, err := f.state.existing()
	if err != nil {
		return err
	}
	f.options.From, f.options.To, f.options.Kept, f.options.MemoryMax = f.since.time, f.to.time, f.kept.time, int64(f.memory)
	if owner != nil && owner.Log.Retain > 0 && f.kept.time.IsZero() {
		f.options.Kept = time.Now().Add(-owner.Log.Retain)
	}
	if f.options.Log, err = openLog(cmd.Context(), dir, owner); err != nil {
		return err
	}
	defer closing(&err, f.options.Log.Close)
	p := newProgress(cmd.ErrOrStderr())
	p.set("verifying", 0, 0)
	found, err := dataset.Verify(cmd.Context(), f.options)
	p.clear()
	if errors.Is(err, dataset.ErrOptions) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	answer := parityAnswer(found)
	if err := o.show(cmd.OutOrStdout(), answer, answer.table); err != nil {
		return err
	}
	if found.Mismatched > 0 {
		return fmt.Errorf("%d of %d vectors are not what the log says they should have been", found.Mismatched, found.Compared)
	}
	return nil
}

func parityAnswer(p *dataset.Parity) *parity {
	answer := &parity{Vectors: p.Vectors, Compared: p.Compared, Mismatched: p.Mismatched, Skipped: p.Skipped, Features: []featureParity{}}
	for i := range p.Features {
		f := &p.Features[i]
		one := featureParity{
			Service: f.Service, Feature: f.Feature, Compared: f.Compared, Mismatched: f.Mismatched, Missing: f.Missing,
			Extra: f.Extra, Status: f.Status, DifferenceMax: numberValue(0, f.DifferenceMax), Inexact: f.Inexact,
		}
		for _, m := range f.Examples {
			one.Examples = append(one.Examples, unequally{
				Stream: m.Stream, ID: m.ID, Sequence: m.Sequence, At: formatMicros(m.At), Keys: m.Keys, Served: m.Served, Computed: m.Computed,
				ServedStatus: m.ServedStatus.String(), ComputedStatus: m.ComputedStatus.String(),
			})
		}
		answer.Features = append(answer.Features, one)
	}
	return answer
}

func (p *parity) table(w io.Writer) error {
	fmt.Fprintf(w, "%d vectors, %d computed again, %d of them differ\n", p.Vectors, p.Compared, p.Mismatched)
	for _, reason := range slices.SortedFunc(maps.Keys(p.Skipped), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.Skipped[b], p.Skipped[a]), cmp.Compare(a, b))
	}) {
		fmt.Fprintf(w, "%d skipped: %s\n", p.Skipped[reason], reason)
	}
	if p.Vectors == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "SERVICE\tFEATURE\tCOMPARED\tMISMATCHED\tMISSING\tEXTRA\tSTATUS\tLARGEST DIFFERENCE")
	for i := range p.Features {
		f := &p.Features[i]
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", f.Service, f.Feature, f.Compared, f.Mismatched, f.Missing, f.Extra, f.Status, valueText(f.DifferenceMax))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if p.Mismatched == 0 {
		return nil
	}
	fmt.Fprintln(w)
	examples := newTable(w, "FEATURE\tOF\tAT\tSERVED\tFROM THE LOG\tRECORD")
	for i := range p.Features {
		for _, m := range p.Features[i].Examples {
			fmt.Fprintf(examples, "%s\t%s\t%s\t%s (%s)\t%s (%s)\t%s of %s, sequence %d\n", p.Features[i].Feature, strings.Join(m.Keys, ", "), m.At,
				m.Served, m.ServedStatus, m.Computed, m.ComputedStatus, m.ID, m.Stream, m.Sequence)
		}
	}
	return examples.Flush()
}
