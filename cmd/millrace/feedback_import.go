// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	feedbackrpc "github.com/millrace-ml/millrace/labeling/groundtruth/rpc"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// importBytesMax bounds, about, the bytes of one call, which holds --batch items or fewer.
const importBytesMax = 2 << 20

// importFlags are those of `feedback import`.
type importFlags struct {
	client featuresClient
	format string
	file   groundtruth.FileOptions
	batch  int
	dryRun bool
}

// imported is what became of files of feedback.
type imported struct {
	Files      int   `json:"files"`
	Items      int64 `json:"items"`
	Accepted   int64 `json:"accepted"`
	Duplicates int64 `json:"duplicates"`
	// Refused by the server; Bad lines were not sent.
	Refused int64         `json:"refused"`
	Bad     int64         `json:"bad"`
	Seconds float64       `json:"seconds"`
	DryRun  bool          `json:"dry_run,omitempty"`
	First   []refusedLine `json:"first_refused,omitempty"`
}

// refusedLine is a line that was not taken.
type refusedLine struct {
	Line    string `json:"line"` // file:line
	Message string `json:"message"`
}

func (o *feedbackOptions) importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Send files of feedback to a server",
		Long: `Send files of feedback to a server, in batches. A file is JSON lines (.jsonl, .ndjson),
CSV with a header (.csv), or, with --format sagemaker, ground truth as SageMaker's model
monitor has it; - is standard input. Fields are feedback_id, prediction_id, entity, name,
kind, value, value_type, source, event_time, weight and reason.

Lines that are wrong are listed, and the rest is sent. A file can be sent again: the same
feedback counts once. The status is 1 if a line was not taken.`,
		Example: `  millrace feedback import chargebacks.csv --name is_fraud --source chargeback
  millrace feedback import truth.jsonl --format sagemaker --name is_fraud --server fraud:8001
  millrace feedback import outcomes/*.jsonl --dry-run`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.importFiles(cmd, args, &f) },
	}
	flags := cmd.Flags()
	f.client.addFlags(flags)
	flags.StringVar(&f.format, "format", "", "`format` of the files: jsonl, csv or sagemaker (default: by their names)")
	flags.StringVar(&f.file.Name, "name", "", "`name` of the outcome where a line has none, such as is_fraud")
	flags.StringVar(&f.file.Source, "source", "", "who says so where a line does not, as the `source` of a label")
	flags.IntVar(&f.batch, "batch", 1000, "`items` in a call, at most 10000")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check the files, send nothing; what a server knows is not checked")
	return cmd
}

func (o *feedbackOptions) importFiles(cmd *cobra.Command, files []string, f *importFlags) error {
	if f.batch < 1 || f.batch > groundtruth.ItemsMax {
		return usageError{fmt.Errorf("--batch %d: give 1 to %d", f.batch, groundtruth.ItemsMax)}
	}
	formats := make([]groundtruth.Format, len(files))
	for i, path := range files {
		var err error
		if formats[i], err = feedbackFormat(f.format, path); err != nil {
			return usageError{err}
		}
		if formats[i] == groundtruth.FormatSageMaker && f.file.Name == "" {
			return usageError{errors.New("--name is missing: ground truth of SageMaker does not say what it is about")}
		}
	}
	m := &importer{flags: f, progress: newProgress(cmd.ErrOrStderr()), result: imported{DryRun: f.dryRun}}
	if !f.dryRun {
		_, conn, done, err := f.client.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer done()
		m.client = millracev1.NewFeedbackClient(conn)
	}
	start := time.Now()
	var err error
	for i, path := range files {
		if err = m.file(cmd.Context(), path, formats[i], cmd.InOrStdin()); err != nil {
			break
		}
		m.result.Files++
	}
	m.progress.clear()
	m.result.Seconds = time.Since(start).Seconds()
	if missed := m.result.Refused + m.result.Bad; err == nil && missed > 0 {
		err = fmt.Errorf("%d of %d lines were not taken", missed, m.result.Items+m.result.Bad)
	}
	return errors.Join(o.show(cmd.OutOrStdout(), &m.result, m.result.table), err)
}

// feedbackFormat is the format that a flag names, or that the name of the file says.
func feedbackFormat(flag, path string) (groundtruth.Format, error) {
	if flag != "" {
		f, err := groundtruth.ParseFormat(flag)
		if err != nil {
			return 0, fmt.Errorf("--format %q: it is jsonl, csv or sagemaker", flag)
		}
		return f, nil
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return groundtruth.FormatJSONLines, nil
	case ".csv":
		return groundtruth.FormatCSV, nil
	}
	return 0, fmt.Errorf("%s: the name does not say what is in it; give --format jsonl, csv or sagemaker", path)
}

// importer sends files, one after another, and holds one batch at a time.
type importer struct {
	flags    *importFlags
	client   millracev1.FeedbackClient // nil in a dry run
	progress *progress
	result   imported

	path  string
	items []*millracev1.FeedbackItem
	lines []int // of items
	bytes int   // of items, about
}

// countingReader counts what is read of a file.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (m *importer) file(ctx context.Context, path string, format groundtruth.Format, stdin io.Reader) error {
	input, size := &countingReader{r: stdin}, int64(0)
	if m.path = path; path == "-" {
		m.path = "standard input"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		input.r = f
	}
	o := m.flags.file
	o.Format = format
	r, err := groundtruth.NewFileReader(input, o)
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	for {
		item, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return m.send(ctx)
		case errors.Is(err, groundtruth.ErrInvalid):
			m.bad(fmt.Sprintf("%s:%d", m.path, r.Line()), err)
			continue
		case err != nil:
			return errors.Join(m.send(ctx), fmt.Errorf("%s: %w", m.path, err))
		}
		if err := m.add(ctx, &item, r.Line()); err != nil {
			return err
		}
		m.progress.set("reading "+m.path, input.n, size)
	}
}

// bad counts a line that is not sent. The place is said apart from the message.
func (m *importer) bad(place string, err error) {
	m.result.Bad++
	message := strings.TrimPrefix(err.Error(), groundtruth.ErrInvalid.Error()+": ")
	if _, rest, ok := strings.Cut(message, ": "); ok && strings.HasPrefix(message, "line ") {
		message = rest
	}
	m.list(place, message)
}

func (m *importer) list(place, message string) {
	if len(m.result.First) < refusedListMax {
		m.result.First = append(m.result.First, refusedLine{place, message})
	}
}

// add takes an item, and sends the batch that is full.
func (m *importer) add(ctx context.Context, f *groundtruth.Feedback, line int) error {
	if err := f.Check(); err != nil {
		m.bad(fmt.Sprintf("%s:%d", m.path, line), err)
		return ctx.Err()
	}
	m.result.Items++
	if m.client == nil {
		return ctx.Err()
	}
	m.items, m.lines = append(m.items, feedbackrpc.ToWire(f)), append(m.lines, line)
	m.bytes += 256 + len(f.Reason) + len(f.Value.Text)
	if len(m.items) < m.flags.batch && m.bytes < importBytesMax {
		return nil
	}
	return m.send(ctx)
}

// send sends the batch.
func (m *importer) send(ctx context.Context) error {
	if len(m.items) == 0 {
		return nil
	}
	answer, err := m.call(ctx)
	if err != nil {
		m.result.Items -= int64(len(m.items))
		return fmt.Errorf("%s:%d: %w; what is before it was taken: import the file again", m.path, m.lines[0], err)
	}
	for i, r := range answer.Results {
		switch {
		case r.Status == millracev1.FeedbackStatus_FEEDBACK_STATUS_ACCEPTED:
			m.result.Accepted++
		case r.Status == millracev1.FeedbackStatus_FEEDBACK_STATUS_DUPLICATE:
			m.result.Duplicates++
		default:
			m.result.Refused++
			m.list(fmt.Sprintf("%s:%d", m.path, m.lines[i]), strings.TrimPrefix(r.Error, groundtruth.ErrInvalid.Error()+": "))
		}
	}
	m.items, m.lines, m.bytes = m.items[:0], m.lines[:0], 0
	return nil
}

// call submits the batch, again where the server was away or busy: ids, given or made of
// the content, make what is sent twice count once.
func (m *importer) call(ctx context.Context) (*millracev1.SubmitFeedbackResponse, error) {
	wait := pushBackoff
	for attempt := 1; ; attempt++ {
		one, cancel := context.WithTimeout(ctx, m.flags.client.timeout)
		answer, err := m.client.SubmitFeedback(one, &millracev1.SubmitFeedbackRequest{Items: m.items})
		cancel()
		code := status.Code(err)
		again := code == codes.Unavailable || code == codes.ResourceExhausted
		for _, r := range answer.GetResults() {
			again = again || r.Retryable
		}
		if err == nil && len(answer.Results) != len(m.items) {
			return nil, fmt.Errorf("the server answered %d of %d items", len(answer.Results), len(m.items))
		}
		if !again || attempt == pushAttempts || ctx.Err() != nil {
			if err != nil {
				err = explainFeedback(&m.flags.client, err)
			}
			return answer, err
		}
		if err := waitFor(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

func (r *imported) table(w io.Writer) error {
	if r.DryRun {
		fmt.Fprintf(w, "%s: %d pieces of feedback can be sent, %d lines are bad\n", counted(r.Files, "file"), r.Items, r.Bad)
	} else {
		fmt.Fprintf(w, "%s: %d pieces of feedback sent: %d accepted, %d known already, %d refused; %d bad lines left out; %.0f/s\n",
			counted(r.Files, "file"), r.Items, r.Accepted, r.Duplicates, r.Refused, r.Bad, float64(r.Items)/max(r.Seconds, 1e-9))
	}
	if len(r.First) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "LINE\tNOT TAKEN BECAUSE")
	for _, e := range r.First {
		fmt.Fprintf(table, "%s\t%s\n", printable(e.Line), printable(e.Message))
	}
	if more := r.Refused + r.Bad - int64(len(r.First)); more > 0 {
		fmt.Fprintf(table, "...\tand %d more\n", more)
	}
	return table.Flush()
}
