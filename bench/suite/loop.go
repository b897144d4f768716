// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/bench/features"
	"github.com/millrace-ml/millrace/bench/loop"
	"github.com/millrace-ml/millrace/bench/report"
)

// loopSuite measures what closes the loop.
var loopSuite = suite{name: "loop", scenarios: loopScenarios, models: func(repository string) error {
	return os.MkdirAll(repository, 0o755)
}}

// Loop runs the suite that measures monitoring, ground truth, labelling, console and demo. It
// is like Serve otherwise.
func Loop(ctx context.Context, o Options) (*report.Report, error) { return loopSuite.run(ctx, o) }

// LoopScenarios names the scenarios of the suite.
func LoopScenarios() []string { return loopSuite.names() }

// loopScenarios are the rows of the loop suite, in the order of its table.
var loopScenarios = []scenario{
	{
		name: "alarms",
		rows: []promise{
			{"drift detectors, nothing changed, windows of 50 to 100,000: least false alarms at the 1 % level", report.AtLeast(0.5).In("%")},
			{"drift detectors, nothing changed, windows of 50 to 100,000: most false alarms at the 1 % level", report.AtMost(1.5).In("%")},
		},
		run: inLoop(loop.FalseAlarms),
	},
	{
		name: "shifts",
		rows: []promise{{"shifts of half a standard deviation in one of 50 columns, windows of 1,000: found", report.AtLeast(95).In("%")}},
		run:  inLoop(loop.Shifts),
	},
	{
		name: "estimates",
		rows: []promise{{"payments, AUC estimated before labels: mean error of weeks", report.AtMost(0.02)}},
		run:  inLoop(loop.Estimates),
	},
	{
		name: "hotpath",
		rows: []promise{{"decisions/s with a monitor over without, unary, 32 in flight", report.AtLeast(0.97)}},
		run:  inFeatures(features.Monitored),
	},
	{
		name: "outcomes",
		rows: []promise{
			{"outcomes joined to 10M logged predictions, a second", report.AtLeast(10_000)},
			{"the same, most memory of the process", report.AtMost(1024).In("MiB")},
		},
		run: inLoop(loop.Outcomes),
	},
	{
		name: "margin",
		rows: []promise{
			{"banking77, labels needed by margin over random selection, mean of 10 seeds", report.AtMost(0.7)},
			{"the same, high end of the 95 % interval", report.AtMost(0.7)},
		},
		run: inLoop(loop.Margin),
	},
	{
		name: "errors",
		rows: []promise{{"banking77, 10 % flipped labels, precision of the first 200", report.AtLeast(0.8)}},
		run:  inLoop(loop.LabelErrors),
	},
	{
		name: "console",
		rows: []promise{
			{"console, demo running: slowest page until it is interactive", report.AtMost(1000).In("ms")},
			{"labelling page, demo running: from a key to the next task, most of 20", report.AtMost(100).In("ms")},
		},
		run: inLoop(loop.Console),
	},
	{
		name: "demo",
		rows: []promise{{"demo, from the start of the program to the first promoted challenger", report.AtMost(180).In("s")}},
		run:  inLoop(loop.Demo),
	},
}

// inLoop runs a measurement of the loop.
func inLoop(f func(ctx context.Context, l *loop.Lab) ([]float64, any, error)) func(context.Context, *bench) ([]float64, any, error) {
	return func(ctx context.Context, b *bench) ([]float64, any, error) {
		folder := filepath.Join(b.folder, "loop")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, nil, err
		}
		return f(ctx, loop.NewLab(loop.Options{
			Folder: folder, Binary: b.Binary, Source: b.Source, Quick: b.Quick, Data: publishedData(b.Source),
			Progress: func(text string) { b.progress("%s", text) },
		}))
	}
}
