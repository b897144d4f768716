// SPDX-License-Identifier: Apache-2.0

// Package loop measures what closes the loop: the monitor, the collector of ground truth,
// labelling, the console and the demo. Packages below it measure one part each; this one
// makes rows of a table of them.
//
// A Lab belongs to one goroutine.
package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/bench/loop/groundtruth"
	"github.com/millrace-ml/millrace/bench/loop/labeling"
	"github.com/millrace-ml/millrace/bench/loop/monitor"
)

// Options are those of a lab.
type Options struct {
	// Folder is written to. Binary is the program under test, Source the folder of the
	// module's source.
	Folder, Binary, Source string
	// Data is the folder of the published data sets; empty where it is not there.
	Data string
	// Quick shortens everything; the values mean nothing then.
	Quick bool
	// Progress is told what is done.
	Progress func(text string)
}

// Lab measures.
type Lab struct{ Options }

// NewLab makes a lab.
func NewLab(o Options) *Lab {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return &Lab{o}
}

var errNoData = errors.New("the published data is not beside the source")

func (l *Lab) data(name string) (string, error) {
	if l.Data == "" {
		return "", errNoData
	}
	path := filepath.Join(l.Data, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %w", errNoData, err)
	}
	return path, nil
}

// FalseAlarms simulates windows in which nothing changed, of 50 to 100,000 rows. The values
// are the least and the greatest share of windows that alarmed at the 1 % level, in percent,
// among the shares by test (all sizes and worlds together) and by size (all tests and worlds).
func FalseAlarms(ctx context.Context, l *Lab) ([]float64, any, error) {
	o := monitor.Options{Windows: 1000, RowsMax: 60_000_000} // so that it takes minutes
	if l.Quick {
		o = monitor.Options{Sizes: [][2]int{{50, 200}, {200, 200}}, Windows: 100}
	}
	o.Done = func(r monitor.Rate) {
		l.Progress(fmt.Sprintf("false alarms: %s, %s, windows of %d against %d: %d of %d", r.World, r.Test, r.Current, r.Reference, r.Alarms, r.Windows))
	}
	rates, err := monitor.FalseAlarms(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	type count struct {
		Alarms, Windows int
		Percent         float64
	}
	by := map[string]*count{}
	for _, r := range rates {
		for _, key := range []string{"test " + string(r.Test), fmt.Sprintf("window of %d, reference of %d", r.Current, r.Reference)} {
			if by[key] == nil {
				by[key] = &count{}
			}
			by[key].Alarms += r.Alarms
			by[key].Windows += r.Windows
		}
	}
	least, most := 100.0, 0.0
	for _, c := range by {
		c.Percent = 100 * float64(c.Alarms) / float64(c.Windows)
		least, most = min(least, c.Percent), max(most, c.Percent)
	}
	return []float64{least, most}, map[string]any{"by": by, "rates": rates}, nil
}

// Shifts shifts one of 50 columns by half a standard deviation. The value is the share of
// rounds in which the test that columns are watched by found it, in percent.
func Shifts(ctx context.Context, l *Lab) ([]float64, any, error) {
	rounds := 400
	if l.Quick {
		rounds = 5
	}
	shifts, err := monitor.Shifts(ctx, rounds, []float64{0.5})
	if err != nil {
		return nil, nil, err
	}
	least := 100.0
	for _, s := range shifts {
		least = min(least, 100*float64(s.Found)/float64(s.Rounds))
	}
	return []float64{least}, shifts, nil
}

// Estimates compares the AUC that is estimated before labels with the realised one, on weeks
// of the published payments. The value is the mean error of those not flagged as unreliable.
func Estimates(ctx context.Context, l *Lab) ([]float64, any, error) {
	transactions, err := l.data("card-transactions/transactions.parquet")
	if err != nil {
		return nil, nil, err
	}
	details := map[string]any{}
	var value float64
	for _, days := range []int{7, 1} {
		dir := filepath.Join(l.Folder, strconv.Itoa(days))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, err
		}
		windows, err := monitor.Payments(ctx, transactions, filepath.Join(l.Source, "examples/card-fraud/features.yaml"), dir, days)
		if err != nil {
			return nil, nil, err
		}
		sum, n := 0.0, 0
		for _, w := range windows {
			if !w.Unreliable {
				sum, n = sum+w.Error(), n+1
			}
		}
		if n == 0 {
			return nil, nil, fmt.Errorf("all %d windows of %d days are flagged as unreliable", len(windows), days)
		}
		details[fmt.Sprintf("windows of %d days", days)] = map[string]any{"mean_error": sum / float64(n), "not_flagged": n, "windows": windows}
		if days == 7 {
			value = sum / float64(n)
		}
	}
	return []float64{value}, details, nil
}

// Outcomes joins outcomes to ten million logged predictions in a process of its own. The
// values are outcomes a second and the most memory the process had, in MiB.
func Outcomes(ctx context.Context, l *Lab) ([]float64, any, error) {
	dir := filepath.Join(l.Folder, "groundtruth")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	c := groundtruth.Config{Dir: dir, Predictions: 10_000_000, Outcomes: 300_000, Rate: 10_000, Paced: 20 * time.Second, Batch: 500, Seed: 1}
	if l.Quick {
		c.Predictions, c.Outcomes, c.Paced = 20_000, 2_000, 100*time.Millisecond
	}
	cmd := exec.CommandContext(ctx, l.Binary, "bench", "groundtruth", "--dir", c.Dir, "--predictions", strconv.Itoa(c.Predictions),
		"--outcomes", strconv.Itoa(c.Outcomes), "--rate", strconv.Itoa(c.Rate), "--paced", c.Paced.String(), "--batch", strconv.Itoa(c.Batch))
	cmd.Stderr = progress(l.Progress)
	text, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("bench groundtruth: %w", err)
	}
	var r groundtruth.Result
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, nil, fmt.Errorf("bench groundtruth: %w", err)
	}
	return []float64{r.JoinedPerSecond, float64(r.ResidentMax) / (1 << 20)}, r, os.RemoveAll(dir)
}

// progress hands what a process says to a function, line by line as they come.
type progress func(string)

func (p progress) Write(text []byte) (int, error) {
	p(string(text[:max(0, len(text)-1)]))
	return len(text), nil
}

// Margin compares selection by margin with random selection on banking77, over ten seeds. The
// values are the labels needed for the same accuracy, margin by random, and the high end of
// its 95 % interval.
func Margin(ctx context.Context, l *Lab) ([]float64, any, error) {
	texts, o, err := l.texts()
	if err != nil {
		return nil, nil, err
	}
	needed, err := labeling.LabelsNeeded(texts, o)
	return []float64{needed.Ratio.Mean, needed.Ratio.High}, needed, err
}

// LabelErrors flips a tenth of the labels of banking77 and looks for them. The value is the
// precision of the first 200.
func LabelErrors(ctx context.Context, l *Lab) ([]float64, any, error) {
	texts, o, err := l.texts()
	if err != nil {
		return nil, nil, err
	}
	found, err := labeling.FlippedFound(texts, o)
	return []float64{found.Precision.Mean}, found, err
}

func (l *Lab) texts() (*labeling.Texts, labeling.Options, error) {
	o := labeling.Options{}
	if l.Quick {
		o = labeling.Options{Seeds: 2, Labels: 1500, First: 600, Step: 900}
	}
	dir, err := l.data("banking77")
	if err != nil {
		return nil, o, err
	}
	texts, err := labeling.Load(dir)
	return texts, o, err
}
