// SPDX-License-Identifier: Apache-2.0

// Package command learns with a program in any language that reads Parquet and writes
// ONNX.
//
// The program is run in the folder of the caller, with the path of a task in its
// environment, MILLRACE_TASK. The task is JSON; see Task. It names a temporary folder's
// files: train.parquet and valid.parquet to read, model.onnx and metrics.json to write.
//
// The tables have a column of 32-bit floats for each feature, null where a value is
// missing; a categorical one has the number of its category (0, 1, ...). The model takes
// one input, FP32 of shape [rows, features] in the order of the task, missing values NaN,
// and gives one of these outputs, FP32:
//
//   - probabilities, [rows, classes], or for binary tasks also [rows, 1] of class 1
//   - scores, raw: logits of shape [rows, 1] for binary tasks, [rows, classes] for
//     multiclass, values of shape [rows, 1] for regression
//
// by that name; an output that is the only one of floats may have any name, and counts as
// probabilities where there are classes. Other outputs, such as label, are left out.
//
// Each line of standard output that is an object with a "step" becomes progress, and its
// metrics learning curves: {"step": 3, "total": 100, "metrics": {"valid_loss": 0.41}}. What
// else it writes is kept, the last LogMax bytes, for errors. metrics.json, which may be
// missing, is an object of numbers.
//
// Invariants:
//
//	C1  nothing of a program that failed is kept, and nothing of its folder in any case.
//	C2  no process of the program's process group outlives Fit.
//	C3  a model that Fit returns has been run on rows of the data and gave finite values.
//
// Concurrency: a trainer may be used from many goroutines; a model runs one batch at a time.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/training/learn"
)

// ErrProgram means that the program did not do what is asked of it: the message says what,
// and has the end of its output.
var ErrProgram = errors.New("program")

// TaskVariable is the environment variable with the path of the task.
const TaskVariable = "MILLRACE_TASK"

// Bounds.
const (
	// LogMax is how much of a program's output is kept, in bytes; lineMax bounds a line of
	// progress.
	LogMax  = 16 << 10
	lineMax = 64 << 10
	// metricsBytesMax bounds metrics.json, modelBytesMax model.onnx.
	metricsBytesMax = 1 << 20
	modelBytesMax   = 1 << 30
	// MetricsMax bounds metrics of a step, and those of metrics.json.
	MetricsMax = 200
	timeoutMax = 7 * 24 * 3600
)

// Task is what a program is told; the file that MILLRACE_TASK names holds it as JSON.
type Task struct {
	Version int    `json:"version"`
	Task    string `json:"task"`
	// Features are the columns of the model's input, in its order, and of the tables.
	Features []Feature `json:"features"`
	// Label and Weight are columns of the tables; Weight is empty where rows weigh the same.
	// Labels of classes are their numbers.
	Label   string   `json:"label"`
	Weight  string   `json:"weight,omitempty"`
	Classes []string `json:"classes,omitempty"`
	// Train and Valid are files; Valid may be empty.
	Train string `json:"train"`
	Valid string `json:"valid,omitempty"`
	// Model and Metrics are files to write.
	Model   string `json:"model"`
	Metrics string `json:"metrics"`
	// Parameters are the user's, as they are.
	Parameters json.RawMessage `json:"parameters"`
	Seed       uint64          `json:"seed"`
	// Workers is how many threads the program may use.
	Workers int `json:"workers"`
	// Opset and OpsetML are the versions of ai.onnx and ai.onnx.ml to export with.
	Opset   int64 `json:"opset"`
	OpsetML int64 `json:"opset_ml"`
}

// Feature is a feature of a task.
type Feature struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Categorical bool     `json:"categorical,omitempty"`
	Categories  []string `json:"categories,omitempty"`
	// Monotone is a wish that the program sees to, or refuses.
	Monotone int8 `json:"monotone,omitempty"`
}

// Method is the method of package learn.
func Method() *learn.Method {
	return &learn.Method{
		Name:  "command",
		Doc:   "a program in any language that reads Parquet and writes ONNX",
		Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
		Parameters: []learn.Parameter{
			{Name: "program", Kind: learn.Text, Default: "", Doc: "its command line; blanks separate arguments, quotes hold them together"},
			{Name: "parameters", Kind: learn.Text, Default: "{}", Doc: "a JSON object that the program finds in its task"},
			{Name: "timeout_seconds", Kind: learn.Float, Default: 3600.0, Min: 0.001, Max: timeoutMax, Doc: "after which it is ended"},
		},
		New: newTrainer,
	}
}

type trainer struct {
	argv       []string
	parameters json.RawMessage
	timeout    time.Duration
}

func newTrainer(v learn.Values) (learn.Trainer, error) {
	argv, err := splitCommand(v.Text("program"))
	if err != nil {
		return nil, fmt.Errorf("%w: command.program: %w", learn.ErrParameters, err)
	}
	parameters := v.Text("parameters")
	var object map[string]any
	if err := json.Unmarshal([]byte(parameters), &object); err != nil || object == nil {
		return nil, fmt.Errorf("%w: command.parameters: %.100q is not a JSON object", learn.ErrParameters, parameters)
	}
	return &trainer{argv, json.RawMessage(parameters), time.Duration(v.Float("timeout_seconds") * float64(time.Second))}, nil
}

// splitCommand cuts a command line. There is no shell: no variables, no patterns.
func splitCommand(line string) (argv []string, err error) {
	var (
		word  strings.Builder
		in    bool
		quote rune
	)
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if in {
				argv = append(argv, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if in {
		argv = append(argv, word.String())
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("%q: the quote is not closed", line)
	case len(argv) == 0 || argv[0] == "":
		return nil, errors.New("it is missing; give a command line such as python3 train.py")
	case strings.ContainsRune(line, 0):
		return nil, errors.New("it has a zero byte")
	}
	return argv, nil
}

func (t *trainer) name() string { return strings.Join(t.argv, " ") }

// Fit implements learn.Trainer.
func (t *trainer) Fit(ctx context.Context, train, valid *learn.Table, o learn.FitOptions) (learn.Model, error) {
	if train.Rows() == 0 || len(train.Features) == 0 {
		return nil, fmt.Errorf("%w: %d rows of %d features", learn.ErrData, train.Rows(), len(train.Features))
	}
	dir, err := os.MkdirTemp("", "millrace-train-")
	if err != nil {
		return nil, err
	}
	m, err := t.fit(ctx, dir, train, valid, o)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	return m, nil
}

func (t *trainer) fit(ctx context.Context, dir string, train, valid *learn.Table, o learn.FitOptions) (*model, error) {
	task, err := t.prepare(dir, train, valid, o)
	if err != nil {
		return nil, err
	}
	p := &program{argv: t.argv, task: filepath.Join(dir, "task.json"), timeout: t.timeout, progress: o.Progress}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	fail := func(err error) (*model, error) { return nil, p.fault(err) }
	metrics, err := readMetrics(task.Metrics)
	if err != nil {
		return fail(err)
	}
	if len(metrics) > 0 && o.Progress != nil {
		if err := o.Progress(p.total, p.total, metrics); err != nil {
			return nil, err
		}
	}
	m, err := openModel(ctx, task.Model, train, task.Workers)
	if err != nil {
		return fail(err)
	}
	m.program = t.name()
	rows := valid
	if rows == nil || rows.Rows() == 0 {
		rows = train
	}
	if err := m.check(ctx, rows); err != nil {
		return fail(err)
	}
	return m, nil
}

// prepare writes what the program reads.
func (t *trainer) prepare(dir string, train, valid *learn.Table, o learn.FitOptions) (*Task, error) {
	path := func(name string) string { return filepath.Join(dir, name) }
	task := &Task{
		Version: 1, Task: train.Task.String(), Classes: train.Classes, Train: path("train.parquet"), Model: path(modelName), Metrics: path("metrics.json"),
		Parameters: t.parameters, Seed: o.Seed, Workers: workers(o.Workers), Opset: learn.Opset, OpsetML: learn.OpsetML,
	}
	taken := map[string]bool{}
	for _, f := range train.Features {
		taken[f.Name] = true
		task.Features = append(task.Features, Feature{f.Name, f.Type.String(), f.Categorical, f.Categories, f.Monotone})
	}
	task.Label = free(taken, "label")
	if train.Weights != nil {
		task.Weight = free(taken, "weight")
	}
	err := writeTable(task.Train, task, train)
	if err == nil && valid != nil && valid.Rows() > 0 {
		task.Valid = path("valid.parquet")
		err = writeTable(task.Valid, task, valid)
	}
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(task, "", "  ")
	if err != nil {
		return nil, err
	}
	return task, os.WriteFile(path("task.json"), data, 0o644)
}

// free is a name that no feature has.
func free(taken map[string]bool, name string) string {
	for taken[name] {
		name = "_" + name
	}
	taken[name] = true
	return name
}

// batchRows bounds what is copied at a time.
const batchRows = 1 << 14

func writeTable(path string, task *Task, t *learn.Table) error {
	columns := make([]source.ParquetColumn, 0, len(t.Features)+2)
	for _, f := range t.Features {
		columns = append(columns, source.ParquetColumn{Name: f.Name, Type: column.Float64, Float32: true})
	}
	label := column.Int64
	if t.Task == learn.Regression {
		label = column.Float64
	}
	columns = append(columns, source.ParquetColumn{Name: task.Label, Type: label, Required: true})
	if task.Weight != "" {
		columns = append(columns, source.ParquetColumn{Name: task.Weight, Type: column.Float64, Float32: true, Required: true})
	}
	w, err := source.NewParquetWriter(path, columns, source.WriterOptions{})
	if err != nil {
		return err
	}
	b := &column.Batch{Columns: make([]column.Column, len(columns))}
	for i, c := range columns {
		b.Columns[i] = column.Column{Name: c.Name, Type: c.Type}
	}
	for from := 0; from < t.Rows(); from += batchRows {
		fillBatch(b, task, t, from, min(from+batchRows, t.Rows()))
		if err := w.Write(b); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Close()
}

func fillBatch(b *column.Batch, task *Task, t *learn.Table, from, to int) {
	b.Reset()
	b.Rows = to - from
	for i, values := range t.Values {
		for _, v := range values[from:to] {
			b.Columns[i].AppendNumber(float64(v))
		}
	}
	label := &b.Columns[len(t.Values)]
	for row := from; row < to; row++ {
		if label.Type == column.Int64 {
			label.AppendInt(int64(t.Labels[row]))
		} else {
			label.AppendNumber(float64(t.Labels[row]))
		}
		if task.Weight != "" {
			b.Columns[len(t.Values)+1].AppendNumber(float64(t.Weight(row)))
		}
	}
}

// readMetrics reads what the program measured; nothing if there is no file.
func readMetrics(path string) (map[string]float64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, metricsBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(data) > metricsBytesMax {
		return nil, fmt.Errorf("metrics.json has more than %d bytes", metricsBytesMax)
	}
	var given map[string]*float64
	if err := json.Unmarshal(data, &given); err != nil {
		return nil, fmt.Errorf("metrics.json is not an object of numbers: %w", err)
	}
	return numbers(given)
}

// numbers takes null for NaN, which JSON has not.
func numbers(given map[string]*float64) (map[string]float64, error) {
	if len(given) > MetricsMax {
		return nil, fmt.Errorf("%d metrics; at most %d", len(given), MetricsMax)
	}
	metrics := make(map[string]float64, len(given))
	for name, v := range given {
		metrics[name] = math.NaN()
		if v != nil {
			metrics[name] = *v
		}
	}
	return metrics, nil
}
