// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training"
)

// attributionsFlags are those of `millrace models attributions`.
type attributionsFlags struct {
	models       *modelsOptions
	data         string
	rows, output int
}

func (o *modelsOptions) attributionsCommand() *cobra.Command {
	f := attributionsFlags{models: o}
	cmd := &cobra.Command{
		Use:   "attributions PATH --data FILE",
		Short: "Show what each feature adds to a model's score",
		Long: `Show what each feature adds to the raw score of a model of trees or a linear model, over
the rows of a file: the mean of its size, and the mean with its sign. With --json it is
said of each row, one line for each, with the base that the parts and it sum to.

PATH is an ONNX file, a version's folder or a model's folder, of which the highest version
is taken. The model takes its features as one matrix of FP32. FILE is .csv with a
header, .npy, .npz, or .json as for predict. No server is needed.`,
		Example: `  millrace models attributions models/fraud --data payments.csv
  millrace models attributions models/fraud --data payments.csv --rows 10 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&f.data, "data", "", "`file` with rows for the model (required)")
	cmd.Flags().IntVar(&f.rows, "rows", 10_000, "first `rows` that are read, at most")
	cmd.Flags().IntVar(&f.output, "output", 0, "`place` of the raw score, of a model that has several")
	return cmd
}

func (f *attributionsFlags) run(cmd *cobra.Command, path string) error {
	const rowsMax = 10_000_000
	if f.data == "" {
		return usageError{errors.New("--data is missing: it names a file with rows for the model")}
	}
	if f.rows < 1 || f.rows > rowsMax {
		return usageError{fmt.Errorf("--rows is %d: it must be from 1 to %d", f.rows, rowsMax)}
	}
	dir, config, err := findModel(path)
	if err != nil {
		return err
	}
	m, err := onnx.ReadFile(filepath.Join(dir, cmp.Or(config.DefaultModelFilename, "model.onnx")), onnx.ReadOptions{})
	if err != nil {
		return err
	}
	e, err := attribution.Open(m)
	if err != nil {
		return err
	}
	if f.output < 0 || f.output >= e.Outputs() {
		return usageError{fmt.Errorf("--output is %d: the model has %d raw scores, from 0 on", f.output, e.Outputs())}
	}
	inputs := m.Inputs()
	if len(inputs) != 1 || inputs[0].Name != e.Matrix() {
		return fmt.Errorf("%w: it has an input for each feature; its attributions are in the answers of decisions", attribution.ErrNoAttribution)
	}
	spec := engine.TensorSpec{Name: e.Matrix(), Datatype: tensor.FP32, Shape: tensor.Shape{-1, int64(e.Features())}}
	data, err := readRows(f.data, cmd.InOrStdin(), dataset.Options{Inputs: []engine.TensorSpec{spec}, RowsMax: f.rows, AllowNaN: true, LabelOptional: true})
	if err != nil {
		return err
	}
	if data.Rows == 0 {
		return fmt.Errorf("%s: it has no rows", f.data)
	}
	names := columnNames(m, e.Features())
	if f.models.json {
		return f.eachRow(cmd.OutOrStdout(), e, data, names)
	}
	return f.summary(cmd.OutOrStdout(), e, data, names)
}

// columnNames are the names of the features as the model's training wrote them, or their
// places.
func columnNames(m *onnx.Model, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("column %d", i)
	}
	at := slices.IndexFunc(m.Metadata, func(p onnx.Property) bool { return p.Key == training.SignatureKey })
	var s training.Signature
	if at >= 0 && json.Unmarshal([]byte(m.Metadata[at].Value), &s) == nil && len(s.Features) == n {
		for i := range names {
			names[i] = s.Features[i].Name
		}
	}
	return names
}

// explainRows gives the attributions of each row, in memory that is used again.
func (f *attributionsFlags) explainRows(e *attribution.Explainer, d *dataset.Data, each func(row int, base float64, parts []float64) error) error {
	values, raw := make([]float32, e.Features()), d.Inputs[0].Data
	parts := make([]float64, e.Features())
	for row := range d.Rows {
		for k := range values {
			values[k] = math.Float32frombits(binary.LittleEndian.Uint32(raw))
			raw = raw[4:]
		}
		if err := each(row, e.ExplainOutput(values, f.output, parts), parts); err != nil {
			return err
		}
	}
	return nil
}

// rowAttributions is a line of the answer in JSON.
type rowAttributions struct {
	Row   int      `json:"row"`
	Base  *float64 `json:"base"`
	Score *float64 `json:"score"`
	// Contributions are null where a linear model was given no number.
	Contributions map[string]*float64 `json:"contributions"`
}

func (f *attributionsFlags) eachRow(w io.Writer, e *attribution.Explainer, d *dataset.Data, names []string) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return f.explainRows(e, d, func(row int, base float64, parts []float64) error {
		line := rowAttributions{Row: row, Base: finiteOrNil(base), Contributions: make(map[string]*float64, len(parts))}
		score := base
		for k, part := range parts {
			line.Contributions[names[k]] = finiteOrNil(part)
			score += part
		}
		line.Score = finiteOrNil(score)
		return encoder.Encode(line)
	})
}

func finiteOrNil(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// meanAttribution is what a feature adds, over rows; those without a number are left out.
type meanAttribution struct {
	name         string
	size, signed float64
	rows         int
}

func (f *attributionsFlags) summary(w io.Writer, e *attribution.Explainer, d *dataset.Data, names []string) error {
	means := make([]meanAttribution, len(names))
	err := f.explainRows(e, d, func(_ int, _ float64, parts []float64) error {
		for k, part := range parts {
			if !math.IsNaN(part) {
				means[k].size, means[k].signed, means[k].rows = means[k].size+math.Abs(part), means[k].signed+part, means[k].rows+1
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	whole := 0.0
	for k := range means {
		m := &means[k]
		m.name = names[k]
		m.size, m.signed = m.size/float64(max(m.rows, 1)), m.signed/float64(max(m.rows, 1))
		whole += m.size
	}
	slices.SortStableFunc(means, func(a, b meanAttribution) int { return cmp.Compare(b.size, a.size) })
	fmt.Fprintf(w, "%d rows; without any feature the raw score is %.6g\n\n", d.Rows, e.Base(f.output))
	table := newTable(w, "FEATURE\tMEAN SIZE\tSHARE\tMEAN")
	for _, m := range means {
		fmt.Fprintf(table, "%s\t%.4g\t%.1f %%\t%+.4g\n", m.name, m.size, 100*m.size/max(whole, math.SmallestNonzeroFloat64), m.signed)
	}
	return table.Flush()
}
