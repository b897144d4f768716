// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
)

func (o *labelOptions) importCommand() *cobra.Command {
	var control string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in tasks and annotations of Label Studio",
		Long: `Take in tasks and annotations of Label Studio: a JSON array of tasks, or one task a line;
- is standard input. The file is read as it is sent and never held as a whole. Importing it
again changes nothing, so an import that was cut short goes on when it is repeated. Labels
that the project does not have end it with their place.`,
		Example: `  millrace label import tasks.json
  millrace label import export.jsonl --project review --control sentiment`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				return o.importFile(cmd, ctx, c, path, args[0], control)
			})
		},
	}
	cmd.Flags().StringVar(&control, "control", "", "`name` of the control whose results are taken (default: any of the project's kind)")
	return cmd
}

func (o *labelOptions) importFile(cmd *cobra.Command, ctx context.Context, c *labelClient, path, file, control string) error {
	in, size := cmd.InOrStdin(), int64(0)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	bar := newProgress(cmd.ErrOrStderr())
	body := &shownReader{countingReader{r: in}, size, bar}
	query := url.Values{}
	if control != "" {
		query.Set("control", control)
	}
	resp, err := c.send(ctx, http.MethodPost, path+"/import", query, body)
	bar.clear()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, labelBodyMax))
	if err != nil {
		return err
	}
	var sum importAnswer
	if json.Unmarshal(text, &sum) != nil || resp.StatusCode != http.StatusOK && sum.Error == "" {
		return c.fault(resp.StatusCode, text)
	}
	err = o.show(cmd.OutOrStdout(), &sum, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d new, %d there already; %s\n", counted(sum.Tasks, "task"), sum.New, sum.Same, counted(sum.Annotations, "annotation"))
		return err
	})
	if sum.Error != "" {
		err = errors.Join(err, fmt.Errorf("%s: %s", file, sum.Error))
	}
	return err
}

// shownReader shows how much of a file is read.
type shownReader struct {
	countingReader
	total int64
	bar   *progress
}

// Read implements io.Reader.
func (r *shownReader) Read(b []byte) (int, error) {
	n, err := r.countingReader.Read(b)
	r.bar.set("importing", r.n, r.total)
	return n, err
}

func (o *labelOptions) exportCommand() *cobra.Command {
	var format, output, field string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Give out tasks and annotations",
		Long: `Give out tasks and annotations. --format labelstudio is a JSON array of all tasks, as
Label Studio takes it; jsonl and parquet have a row for each thing that somebody said, with
the task's final value, why it was chosen, and the model's guess; config is Label Studio's
labelling configuration for the project.`,
		Example: `  millrace label export > tasks.json
  millrace label export --format parquet --output labels.parquet
  millrace label export --format config --field amount`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				return exportTo(ctx, cmd.OutOrStdout(), c, path, format, output, field)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", exportLabelStudio, "`format`: labelstudio, jsonl, parquet, or config")
	flags.StringVar(&output, "output", "", "`file` to write, in place of standard output")
	flags.StringVar(&field, "field", "", "`field` of the data that Label Studio shows (default: the text of spans, else prediction_id)")
	return cmd
}

// exportConfig is the format of Label Studio's labelling configuration.
const exportConfig = "config"

func exportTo(ctx context.Context, stdout io.Writer, c *labelClient, path, format, output, field string) (err error) {
	query := url.Values{"format": {format}, "field": {field}}
	path += "/export"
	if format == exportConfig {
		path = path[:len(path)-len("export")] + "labelstudio.xml"
	}
	resp, err := c.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, labelBodyMax))
		return errors.Join(err, c.fault(resp.StatusCode, text))
	}
	out := stdout
	if output != "" { // a name is taken when all of the file is there
		f, err := os.CreateTemp(filepath.Dir(output), filepath.Base(output)+".part-*")
		if err != nil {
			return err
		}
		defer func() {
			if err = errors.Join(err, f.Close()); err == nil {
				err = os.Rename(f.Name(), output)
			} else {
				err = errors.Join(err, os.Remove(f.Name()))
			}
		}()
		out = f
	}
	b := bufio.NewWriter(out)
	_, err = io.Copy(b, resp.Body)
	if err = errors.Join(err, b.Flush()); err != nil {
		return err
	}
	if ended := resp.Trailer.Get(exportTrailer); format != exportConfig && ended != "complete" {
		return fmt.Errorf("the export is not complete: %s", ended)
	}
	return nil
}

func (o *labelOptions) aggregateCommand() *cobra.Command {
	var method, output string
	var functions bool
	cmd := &cobra.Command{
		Use:   "aggregate",
		Short: "Make one label of what several people say of a task",
		Long: `Make one label of what several people say of a task, with a probability: by majority, or
by Dawid and Skene, who find out together what the truth is and how often each annotator is
right. --functions lets the project's labelling functions vote too, on all tasks.`,
		Example: `  millrace label aggregate
  millrace label aggregate --method majority --output labels.jsonl
  millrace label aggregate --functions`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				var report aggregateReport
				query := url.Values{"method": {method}, "functions": {strconv.FormatBool(functions)}}
				if err := c.ask(ctx, http.MethodGet, path+"/aggregate", query, nil, &report); err != nil {
					return err
				}
				if output != "" {
					if err := writeAggregated(output, report.Tasks); err != nil {
						return err
					}
				}
				return o.show(cmd.OutOrStdout(), &report, report.table)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&method, "method", methodDawidSkene, "`method`: majority or dawid_skene")
	flags.BoolVar(&functions, "functions", false, "let the project's labelling functions vote too")
	flags.StringVar(&output, "output", "", "`file` of JSON lines for the label of each task")
	return cmd
}

func writeAggregated(file string, all []aggregated) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer closing(&err, f.Close)
	b := bufio.NewWriter(f)
	e := json.NewEncoder(b)
	for _, one := range all {
		if err := e.Encode(one); err != nil {
			return err
		}
	}
	return b.Flush()
}

func (r *aggregateReport) table(w io.Writer) error {
	if r.Note != "" {
		_, err := fmt.Fprintln(w, r.Note)
		return err
	}
	fmt.Fprintf(w, "%d tasks by %s; of those that are done %d have another final value\n", len(r.Tasks), r.Method, r.Differs)
	table := newTable(w, "LABEL\tSHARE")
	for _, label := range slices.Sorted(maps.Keys(r.Shares)) {
		fmt.Fprintf(table, "%s\t%.3f\n", printable(label), r.Shares[label])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	table = newTable(w, "VOTER\tVOTES\tRIGHT\tCOVERAGE\tOVERLAP\tCONFLICT\tERRORS")
	for _, v := range r.Voters {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\t%d\n", printable(v.Name), v.Votes, share(v.Accuracy), share(v.Coverage), share(v.Overlap), share(v.Conflict), v.Errors)
	}
	return table.Flush()
}
