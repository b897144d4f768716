// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/bench/learn"
	"github.com/millrace-ml/millrace/bench/report"
)

// learnSuite measures training, evaluation and pipelines.
var learnSuite = suite{name: "learn", scenarios: learnScenarios, models: func(repository string) error {
	return os.MkdirAll(repository, 0o755)
}}

// Learn runs the suite that measures training, evaluation and pipelines. It is like Serve
// otherwise.
func Learn(ctx context.Context, o Options) (*report.Report, error) { return learnSuite.run(ctx, o) }

// LearnScenarios names the scenarios of the suite.
func LearnScenarios() []string { return learnSuite.names() }

// learnScenarios are the rows of the learn suite, in the order of its table.
var learnScenarios = []scenario{
	{
		name: "single",
		rows: []promise{
			{"payments, single split, best of our trainers: ROC AUC", report.AtLeast(0.871)},
			{"payments, single split, best of our trainers: average precision", report.AtLeast(0.66)},
			{"payments, single split, best of our trainers: card precision@100", report.AtLeast(0.291)},
		},
		run: inLearn(learn.Single),
	},
	{
		name: "tuned",
		rows: []promise{
			{"payments, tuned, one model, mean of four test splits: ROC AUC", report.AtLeast(0.879)},
			{"payments, tuned, one model, mean of four test splits: average precision", report.AtLeast(0.694)},
			{"payments, tuned, one model, mean of four test splits: card precision@100", report.AtLeast(0.305)},
		},
		run: inLearn(learn.Tuned),
	},
	{
		name: "electricity",
		rows: []promise{
			{"electricity, prequential accuracy less that of the last label", report.AtLeast(0)},
			{"electricity, low end of the difference's 95 % interval", report.AtLeast(0)},
		},
		run: inLearn(learn.Electricity),
	},
	{
		name: "trees",
		rows: []promise{
			{"tree trainer, 100k x 28, 100 trees, depth 6: time over XGBoost's", report.AtMost(1)},
			{"tree trainer, 100k x 28, 100 trees, depth 8: time over XGBoost's", report.AtMost(1)},
		},
		run: inLearn(learn.Trees),
	},
	{
		name: "evaluate",
		rows: []promise{{"evaluation of 1M rows, 1,000 draws of AUC and AP, two cores", report.AtMost(10).In("s")}},
		run:  inLearn(learn.Evaluate),
	},
	{
		name: "cached",
		rows: []promise{{"overhead per task of an all-cached pipeline of 100 tasks", report.AtMost(5).In("ms")}},
		run:  inLearn(learn.Overhead),
	},
	{
		name: "pipeline",
		rows: []promise{{"card payments, 1.75M rows, from Parquet to a promoted model", report.AtMost(60).In("s")}},
		run:  inLearn(learn.Pipeline),
	},
}

// inLearn runs a measurement of training.
func inLearn(f func(ctx context.Context, l *learn.Lab) ([]float64, any, error)) func(context.Context, *bench) ([]float64, any, error) {
	return func(ctx context.Context, b *bench) ([]float64, any, error) {
		if b.learnLab == nil {
			b.learnLab = learn.NewLab(learn.Options{
				Folder: filepath.Join(b.folder, "learn"), Binary: b.Binary, Source: b.Source, Quick: b.Quick,
				Data: publishedData(b.Source), Python: fetchedPython(b.Source, "xgboost"),
				Progress: func(text string) { b.progress("%s", text) },
			})
			if err := os.MkdirAll(b.learnLab.Folder, 0o755); err != nil {
				return nil, nil, err
			}
		}
		return f(ctx, b.learnLab)
	}
}

// publishedData is the folder of published data sets, where it lies beside the source.
func publishedData(source string) string {
	path := filepath.Join(source, "..", "shared", "data")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// fetchedPython is the interpreter of a virtual environment that a script fetched.
func fetchedPython(source, name string) string {
	path, err := filepath.Abs(filepath.Join(source, ".millrace", name, "bin", "python"))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
