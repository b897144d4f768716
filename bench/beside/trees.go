// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/millrace-ml/millrace/bench/kernels/boost"
	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/kernels/trees"
)

const testRows = 4096

// forestRecipes are the ensembles: how many of the grown trees, and of what.
var forestRecipes = []struct {
	trees, leaves int
	rate          float64
}{{100, 31, 0.1}, {500, 31, 0.05}, {100, 255, 0.1}}

// forests writes each ensemble for the Python script, and prints our time for it.
func forests(ctx context.Context, out io.Writer, folder string) error {
	data, tests := boost.Synthetic(116_000, 1), boost.Synthetic(testRows, 2)
	if err := writeFloats(filepath.Join(folder, "rows.f32"), tests.X); err != nil {
		return err
	}
	fmt.Fprintln(out, "trees, ns/row of our kernel on one core")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "trees\tleaves\t1 row\t64 rows\t256 rows\t")
	var names []string
	for _, f := range forestRecipes {
		m := boost.Train(data, boost.Options{Trees: f.trees, Leaves: f.leaves, Rate: f.rate, Seed: 3})
		name := fmt.Sprintf("%d_%d", f.trees, f.leaves)
		names = append(names, name)
		if err := writeForest(filepath.Join(folder, name), m, tests); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(table, "%d\t%d\t", f.trees, f.leaves)
		for _, rows := range []int{1, 64, 256} {
			nanos, err := forestNanos(ctx, m, tests, rows)
			if err != nil {
				return err
			}
			fmt.Fprintf(table, "%.0f\t", nanos)
		}
		fmt.Fprintln(table)
	}
	list, err := json.Marshal(names)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "models.json"), list, 0o644)
	}
	if err != nil {
		return err
	}
	return table.Flush()
}

// writeForest writes a model in both libraries' forms, and its answers.
func writeForest(path string, m *boost.Model, tests *boost.Data) error {
	answers := make([]float32, tests.Rows())
	for i := range answers {
		answers[i] = m.Predict(tests.X[i*boost.Features:][:boost.Features])
	}
	if err := writeFloats(path+".f32", answers); err != nil {
		return err
	}
	if err := os.WriteFile(path+".txt", lightGBM(m), 0o644); err != nil {
		return err
	}
	encoded, err := json.Marshal(xgBoost(m))
	if err != nil {
		return err
	}
	return os.WriteFile(path+".json", encoded, 0o644)
}

func writeFloats(path string, values []float32) error {
	encoded, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		return err
	}
	return os.WriteFile(path, encoded, 0o644)
}

// forestNanos is what our kernel takes for a row in batches of so many.
func forestNanos(ctx context.Context, m *boost.Model, tests *boost.Data, rows int) (float64, error) {
	f, err := trees.Compile(m.Ensemble())
	if err != nil {
		return 0, err
	}
	scratch, y, at := f.NewScratch(), make([]float32, rows), 0
	r, err := turns.Measure(ctx, pace, turns.Contender{Name: "ours", Work: float64(rows), Run: func() error {
		f.Predict(tests.X[at*boost.Features:], boost.Features, rows, y, 1, scratch)
		at = (at + rows) % testRows
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return r.Nanos("ours"), nil
}
