// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// datasetFlags are those of `features dataset`.
type datasetFlags struct {
	options        dataset.Options
	labels, format string
	columns        []string
	carryNone      bool
	from, to, asOf momentFlag
	log            string
	memory         bytesFlag
}

func (o *featuresOptions) datasetCommand() *cobra.Command {
	var f datasetFlags
	cmd := &cobra.Command{
		Use:   "dataset --service NAME --labels FILE|source:NAME --label COLUMN --output FILE.parquet",
		Short: "Make a training set: labels with features as of their time",
		Long: `Make a training set: for each row of the labels the features of a service as they
were known at the row's time, and the labels, as Parquet. Event times and arrival times
are both respected, and so is when labels became known: nothing of the future leaks.

The labels are a file (CSV, Parquet, JSON lines) with the keys, the time and the request
fields of the service, or the events of a source: --labels source:NAME. A manifest beside
the output says what it was made of, by hashes; dataset check compares it with what is
there now. A server may have the event log of --log open and go on.`,
		Example: `  millrace features dataset --service fraud --labels source:payments --label is_fraud --output train.parquet \
      --from 2018-05-01 --to 2018-07-01
  millrace features dataset --service fraud --labels labels.csv --label chargeback --column event_timestamp=paid_at \
      --sample-negatives 0.1 --output train.parquet
  millrace features dataset --service fraud --labels source:payments --label is_fraud --log .millrace/state --output train.parquet
  millrace features dataset check train.parquet.manifest.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.dataset(cmd, &f)
		},
	}
	o.addDefinitions(cmd.Flags())
	f.addLabelFlags(cmd.Flags())
	f.addBuildFlags(cmd.Flags())
	cmd.AddCommand(o.datasetCheckCommand())
	return cmd
}

func (f *datasetFlags) addLabelFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.options.Service, "service", "", "`name` of the feature service")
	flags.StringVar(&f.labels, "labels", "", "`file` or pattern with the rows, or source:NAME for the events of a source")
	flags.StringVar(&f.format, "format", "", "`format` of the labels: csv, jsonl or parquet (default: by the name)")
	flags.StringArrayVar(&f.options.Labels.Names, "label", nil, "`column` of the label; repeat for several; rows without it are left out")
	flags.StringArrayVar(&f.columns, "column", nil, "name of a column in the file of labels as `FIELD=NAME`, where it differs; repeat as needed")
	flags.StringVar(&f.options.Labels.Time, "time", "", "`column` with the moment of each row (default: the source's timestamp, the service's time, or event_timestamp)")
	flags.StringVar(&f.options.Labels.ID, "id", "", "`column` that sampling goes by (default: the source's id, or keys and time)")
	flags.StringArrayVar(&f.options.Labels.Carry, "carry", nil, "`column` to carry along; repeat for several (default: id, time and keys)")
	flags.BoolVar(&f.carryNone, "carry-none", false, "carry no column along")
	flags.Var(&f.from, "from", "leave out rows before this moment")
	flags.Var(&f.to, "to", "leave out rows from this moment on")
	flags.Var(&f.asOf, "as-of", "use only what was known at this moment, and rows whose label was")
	flags.BoolVar(&f.options.Hindsight, "hindsight", false, "let events count from when they happened though they arrived later: for history with arrival times that say nothing")
	flags.Float64Var(&f.options.Sample.Rate, "sample-rate", 0, "`share` of all rows to keep, 0 to 1; 0 is all")
	flags.Float64Var(&f.options.Sample.Negatives, "sample-negatives", 0, "`share` of the rows whose label is 0 or false to keep; adds a column weight")
	flags.Uint64Var(&f.options.Sample.Seed, "seed", 0, "`number` that chooses the sample")
}

func (f *datasetFlags) addBuildFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.log, "log", "", "state `folder` with an event log whose events are used besides the inputs of sources")
	flags.BoolVar(&f.options.NoInputs, "no-inputs", false, "leave the inputs of sources out: the event log alone has the events")
	flags.StringVarP(&f.options.Output, "output", "o", "", "Parquet `file` to write; the manifest is written beside it")
	flags.BoolVar(&f.options.Float32, "float32", false, "write features as 32-bit floats")
	flags.BoolVar(&f.options.Status, "status", false, "add a column FEATURE__status for each feature of a view or lookup")
	flags.Int64Var(&f.options.BadRowsMax, "bad-rows-max", 0, "`number` of bad rows of inputs to leave out before giving up; negative is any number")
	flags.IntVar(&f.options.Workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	flags.Var(&f.memory, "memory", "bound on what is held in memory; the rest waits in temporary files (default 512MiB)")
	flags.StringVar(&f.options.TempDir, "temp-dir", "", "`folder` for temporary files (default: the system's)")
}

func (o *featuresOptions) dataset(cmd *cobra.Command, f *datasetFlags) (err error) {
	if err := f.validate(); err != nil {
		return err
	}
	if f.options.Catalog, err = o.catalog(); err != nil {
		return err
	}
	if f.log != "" {
		if f.options.Log, err = openLogOf(cmd.Context(), f.log); err != nil {
			return err
		}
		defer closing(&err, f.options.Log.Close)
	}
	p := newProgress(cmd.ErrOrStderr())
	f.options.Version, f.options.MemoryMax = version, int64(f.memory)
	f.options.Progress = func(done, total int64, phase string) { p.set(phase, done, total) }
	m, err := dataset.Build(cmd.Context(), f.options)
	p.clear()
	if errors.Is(err, dataset.ErrOptions) {
		return usageError{err}
	} else if err != nil {
		return explainRows(err)
	}
	return o.show(cmd.OutOrStdout(), m, func(w io.Writer) error { return printManifest(w, m, f.options.Output) })
}

// validate fills the options in and reports every flag that is wrong or missing.
func (f *datasetFlags) validate() error {
	var problems []error
	require := func(value, flag string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("--%s is missing", flag))
		}
	}
	require(f.options.Service, "service NAME")
	require(f.labels, "labels FILE|source:NAME")
	require(f.options.Output, "output FILE.parquet")
	labels := &f.options.Labels
	if name, is := strings.CutPrefix(f.labels, "source:"); is {
		labels.Source = name
		if len(f.columns) > 0 || f.format != "" {
			problems = append(problems, errors.New("--column and --format are for files of labels: a source has its own"))
		}
	} else if f.labels != "" {
		var err error
		labels.Path = f.labels
		if labels.Format, err = fileFormat(f.format, f.labels); err != nil {
			problems = append(problems, fmt.Errorf("--labels: %w", err))
		}
	}
	if len(f.columns) > 0 {
		columns, err := parsePairs("column", f.columns)
		labels.Columns, problems = columns, append(problems, err)
	}
	if f.carryNone {
		if labels.Carry != nil {
			problems = append(problems, errors.New("give --carry or --carry-none, not both"))
		}
		labels.Carry = []string{}
	}
	f.options.From, f.options.To, f.options.AsOf = f.from.time, f.to.time, f.asOf.time
	if err := errors.Join(problems...); err != nil {
		return usageError{err}
	}
	return nil
}

// printManifest sums a training set up.
func printManifest(w io.Writer, m *dataset.Manifest, output string) error {
	features := 0
	for _, c := range m.Columns {
		if c.Role == "feature" {
			features++
		}
	}
	fmt.Fprintf(w, "%s: %d rows, %s, %s\nmanifest: %s\n", output, m.Rows.Out, counted(features, "feature"), formatBytes(m.Output.Bytes), output+dataset.ManifestSuffix)
	if m.Rows.In != m.Rows.Out {
		fmt.Fprintf(w, "\n%d of %d rows were left out:\n", m.Rows.In-m.Rows.Out, m.Rows.In)
		table := newTable(w, "ROWS\tBECAUSE")
		for _, reason := range slices.SortedFunc(maps.Keys(m.Rows.Dropped), func(a, b string) int {
			return cmp.Or(cmp.Compare(m.Rows.Dropped[b], m.Rows.Dropped[a]), cmp.Compare(a, b))
		}) {
			fmt.Fprintf(table, "%d\t%s\n", m.Rows.Dropped[reason], reason)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	table := newTable(w, "SOURCE\tROWS\tBAD ROWS\tRECORDS OF THE LOG")
	for _, s := range m.Sources {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\n", cmp.Or(s.Source, "(labels)"), s.Rows, s.BadRows, s.Records)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range m.Refused {
		fmt.Fprintf(w, "%s.%s: %d events refused: %s\n", r.Source, r.Field, r.Events, r.Reason)
	}
	return nil
}

// difference is a file that is not what a manifest says.
type difference struct {
	What   string `json:"what"`
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
}

func (o *featuresOptions) datasetCheckCommand() *cobra.Command {
	var noDefinitions bool
	cmd := &cobra.Command{
		Use:   "check MANIFEST",
		Short: "Compare a training set and its inputs with what they were",
		Long: `Compare a training set, the files it was made of and the definitions with what they
were when it was made. The status is 1 if something differs. What was read from a
database or the event log is not compared.`,
		Example: `  millrace features dataset check train.parquet.manifest.json
  millrace features dataset check train.parquet.manifest.json --no-definitions`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			m, err := dataset.ReadManifest(args[0])
			if err != nil {
				return err
			}
			var c *definition.Catalog
			if !noDefinitions {
				if c, err = o.catalog(); err != nil {
					return err
				}
			}
			return o.datasetCheck(cmd.Context(), cmd.OutOrStdout(), m, filepath.Dir(args[0]), c)
		},
	}
	o.addDefinitions(cmd.Flags())
	cmd.Flags().BoolVar(&noDefinitions, "no-definitions", false, "compare files only")
	return cmd
}

func (o *featuresOptions) datasetCheck(ctx context.Context, w io.Writer, m *dataset.Manifest, dir string, c *definition.Catalog) error {
	found, err := dataset.Check(ctx, m, dir, c)
	if err != nil {
		return err
	}
	differences := make([]difference, len(found))
	for i, d := range found {
		differences[i] = difference(d)
	}
	err = o.show(w, differences, func(w io.Writer) error {
		if len(differences) == 0 {
			_, err := fmt.Fprintf(w, "%s: as it was made\n", m.Output.Path)
			return err
		}
		table := newTable(w, "WHAT\tPATH\tDIFFERENCE")
		for _, d := range differences {
			fmt.Fprintf(table, "%s\t%s\t%s\n", d.What, d.Path, d.Reason)
		}
		return table.Flush()
	})
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("%s: %s", m.Output.Path, counted(len(differences), "difference"))
	}
	return err
}
