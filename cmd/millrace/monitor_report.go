// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	monitordoc "github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// monitorReportFlags are those of `monitor report`.
type monitorReportFlags struct {
	monitor, format, slice, output, failOn string
	from, to                               momentFlag
	window                                 spanFlag
}

const monitorReportLong = `Report what a monitor found: alarms, quality over time with intervals and the coverage of
labels, what was estimated before labels and what came true, columns by their impact, slices,
data quality, latency and decisions.

The page (--output FILE.html, or --format html) needs nothing else: it can be mailed, kept, or
attached to a ticket.

Exit status: 0, or 1 if --fail-on is given and an alarm of that severity, or a worse one, is
raised; 2 for a mistake in the command line.`

func newMonitorReportCommand() *cobra.Command {
	var f monitorReportFlags
	cmd := &cobra.Command{
		Use:   "report [FOLDER]",
		Short: "Report what a monitor found, as a page, Markdown, text or JSON",
		Long:  monitorReportLong,
		Example: `  millrace monitor report --monitor fraud --output report.html
  millrace monitor report --monitor fraud --from 30d --window 7d --slice channel
  millrace monitor report --monitor fraud --format markdown --fail-on warning
  millrace monitor report .millrace/state --format json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.monitor, "monitor", "", "`name` of the monitor (default: the only one)")
	flags.Var(&f.from, "from", "first moment, such as 2026-01-02 or 30d ago (default: all that is kept)")
	flags.Var(&f.to, "to", "moment to end before (default: now)")
	flags.Var(&f.window, "window", "length of the windows that are plotted (default: the longest with some history)")
	flags.StringVar(&f.slice, "slice", "", "one slice alone, as `DIMENSION` or DIMENSION=VALUE")
	flags.StringVar(&f.format, "format", "", "`format`: html, markdown, text or json (default: by the name of the output, else text)")
	flags.StringVarP(&f.output, "output", "o", "", "`file` to write to (default: standard output)")
	flags.StringVar(&f.failOn, "fail-on", "", "`severity` from which on an alarm that is raised makes the exit status 1: warning or critical")
	return cmd
}

// documentWriters are the formats of documents.
var documentWriters = map[string]func(io.Writer, *monitordoc.Document) error{
	"html": monitordoc.WriteHTML, "markdown": monitordoc.WriteMarkdown, "text": monitordoc.WriteText, "json": monitordoc.WriteJSON,
}

// documentFormats are the formats by the end of a file's name.
var documentFormats = map[string]string{".html": "html", ".htm": "html", ".md": "markdown", ".txt": "text", ".json": "json"}

// documentFormat is the format that was asked for.
func documentFormat(format, output string) (string, error) {
	if format == "" {
		if output == "" {
			return "text", nil
		}
		if format = documentFormats[strings.ToLower(filepath.Ext(output))]; format == "" {
			return "", usageError{fmt.Errorf("--output %s: the name does not say the format: end it with .html, .md, .txt or .json, or give --format", output)}
		}
	}
	if documentWriters[format] == nil {
		return "", usageError{fmt.Errorf("--format %q: it is html, markdown, text or json", format)}
	}
	return format, nil
}

func (f *monitorReportFlags) run(cmd *cobra.Command, args []string) (err error) {
	if !slices.Contains([]string{"", string(monitor.Warning), string(monitor.Critical)}, f.failOn) {
		return usageError{fmt.Errorf("--fail-on %q: it is warning or critical", f.failOn)}
	}
	format, err := documentFormat(f.format, f.output)
	if err != nil {
		return err
	}
	m, err := monitorsIn(args)
	if err != nil {
		return err
	}
	defer closing(&err, m.close)
	name, err := m.choose(f.monitor)
	if err != nil {
		return err
	}
	s, err := m.store(name)
	if err != nil {
		return err
	}
	reports, err := s.Reports(record.Query{From: f.from.micros(), To: f.to.micros()})
	if err != nil {
		return err
	}
	d := monitordoc.New(reports, monitordoc.Options{
		Monitor: name, Window: monitor.Duration(f.window), Slice: f.slice, Made: time.Now(), Source: filepath.Join(m.state, monitorsFolder, name),
	})
	ended, err := endedAlarms(m.state, name)
	if err != nil {
		return err
	}
	d.End(func(a *monitor.Alarm) int64 {
		if at := ended(a); f.to.micros() == 0 || at < f.to.micros() {
			return at
		}
		return 0 // it was raised then
	})
	if f.window != 0 && len(reports) > 0 && !slices.Contains(d.Windows, d.Window) {
		return usageError{fmt.Errorf("--window: the monitor has windows of %s", windowWords(d.Windows))}
	}
	if err := writeDocument(cmd.OutOrStdout(), f.output, format, d); err != nil {
		return err
	}
	return failOn(d, monitor.Severity(f.failOn))
}

// writeDocument writes to a file, or to a stream. Nothing is written of a document that fails.
func writeDocument(out io.Writer, path, format string, d *monitordoc.Document) error {
	if path == "" {
		return documentWriters[format](out, d)
	}
	var text strings.Builder
	if err := documentWriters[format](&text, d); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

func windowWords(windows []monitor.Duration) string {
	var words []string
	for _, w := range windows {
		words = append(words, w.String())
	}
	return strings.Join(words, ", ")
}

// failOn is an error where an alarm of a severity, or a worse one, is raised.
func failOn(d *monitordoc.Document, severity monitor.Severity) error {
	worst := d.Worst()
	if severity == "" || worst == "" || severity == monitor.Critical && worst != monitor.Critical {
		return nil
	}
	return fmt.Errorf("monitor %s: %s", d.Monitor, d.Sentence())
}
