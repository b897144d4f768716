// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/bench/features"
	"github.com/millrace-ml/millrace/bench/report"
)

// featureSuite measures features, decisions, training sets and recovery.
var featureSuite = suite{name: "features", scenarios: featureScenarios, models: func(repository string) error {
	return os.MkdirAll(repository, 0o755)
}}

// Features runs the suite that measures the feature store and the front-end. It is
// like Serve otherwise.
func Features(ctx context.Context, o Options) (*report.Report, error) {
	return featureSuite.run(ctx, o)
}

// FeatureScenarios names the scenarios of the suite.
func FeatureScenarios() []string { return featureSuite.names() }

// featureScenarios are the rows of the feature suite, in the order of its table.
var featureScenarios = []scenario{
	{
		name: "read",
		rows: []promise{{"in-process read of 50 features of one entity, 1M entities: p99", report.AtMost(10).In("us")}},
		run:  inFeatures(features.Read),
	},
	{
		name: "grid",
		rows: []promise{
			{"gRPC read, Feast's grid, 1 row of 50 features: p99", report.AtMost(0.5).In("ms")},
			{"gRPC read, Feast's grid, 100 rows of 250 features: p99", report.AtMost(5).In("ms")},
		},
		run: inFeatures(features.Grid),
	},
	{
		name: "decide",
		rows: []promise{{"Decide, 15 windowed features and 100 trees: requests/s over the same model's ModelInfer", report.AtLeast(0.7)}},
		run:  inFeatures(features.Decide),
	},
	{
		name: "push",
		rows: []promise{
			{"pushes sustained, durable in groups, over gRPC", report.AtLeast(100_000).In("events/s")},
			{"push to readable beside 100,000 events/s: p99", report.AtMost(5).In("ms")},
		},
		run: inFeatures(features.Push),
	},
	{
		name: "memory",
		rows: []promise{{"memory per entity, windows of 1, 7 and 30 days, 4 aggregations", report.AtMost(2).In("KiB")}},
		run:  inFeatures(features.Memory),
	},
	{
		name: "dataset",
		rows: []promise{
			{"training set of 1.75M payments, 15 features", report.AtMost(5).In("s")},
			{"training set of 1.75M payments: peak memory", report.AtMost(1).In("GiB")},
		},
		run: inFeatures(features.Dataset),
	},
	{
		name: "join",
		rows: []promise{{"point-in-time join of 1M labels with 5M rows: time over DuckDB's ASOF JOIN", report.AtMost(0.7)}},
		run:  inFeatures(features.Join),
	},
	{
		name: "recovery",
		rows: []promise{{"start after kill -9, 1M entities", report.AtMost(5).In("s")}},
		run:  inFeatures(features.Recovery),
	},
}

// inFeatures runs a measurement of the feature store.
func inFeatures(f func(ctx context.Context, l *features.Lab) ([]float64, any, error)) func(context.Context, *bench) ([]float64, any, error) {
	return func(ctx context.Context, b *bench) ([]float64, any, error) {
		if b.featureLab == nil {
			b.featureLab = features.NewLab(features.Options{
				Folder: filepath.Join(b.folder, "features"), Binary: b.Binary, Data: paymentsData(b.Source), Python: fetchedPython(b.Source, "duckdb"), Quick: b.Quick,
				Progress: func(text string) { b.progress("%s", text) },
			})
			if err := os.MkdirAll(b.featureLab.Folder, 0o755); err != nil {
				return nil, nil, err
			}
		}
		return f(ctx, b.featureLab)
	}
}

// paymentsData is the published payments, where they lie beside the source.
func paymentsData(source string) string {
	path := filepath.Join(source, "..", "shared", "data", "card-transactions", "transactions.parquet")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
