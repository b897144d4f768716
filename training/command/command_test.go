// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The test binary is the program: with an argument, it does what that says.
func TestMain(m *testing.M) {
	path := os.Getenv(TaskVariable)
	if path == "" || len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	data, err := os.ReadFile(path)
	var task Task
	if err == nil {
		err = json.Unmarshal(data, &task)
	}
	if err == nil {
		err = act(os.Args[1], &task)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// act is the program.
func act(how string, task *Task) error {
	switch how {
	case "crash":
		fmt.Println("reading the data")
		fmt.Fprintln(os.Stderr, strings.Repeat("é", LogMax), "\nMemoryError: of 3 rows")
		os.Exit(3)
	case "hang":
		// A child holds the output open, as a pool of workers would.
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Printf("{\"step\": 1, \"metrics\": {\"child\": %d}}\n", cmd.Process.Pid)
		return cmd.Wait()
	case "leave":
		cmd := exec.Command("sleep", "600")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		fmt.Printf("{\"step\": 1, \"metrics\": {\"child\": %d}}\n", cmd.Process.Pid)
	case "nothing":
		return nil
	case "broken":
		return os.WriteFile(task.Model, []byte("this is not ONNX"), 0o644)
	case "bad-metrics":
		if err := os.WriteFile(task.Metrics, []byte(`{"loss": "low"}`), 0o644); err != nil {
			return err
		}
	case "progress":
		for step := 1; step <= 3; step++ {
			fmt.Printf("{\"step\": %d, \"total\": 3, \"metrics\": {\"valid_loss\": %g, \"odd\": null}}\n", step, 1/float64(step))
			fmt.Println("{\"about\": \"something else\"}", strings.Repeat("x", 100))
		}
		fmt.Print(strings.Repeat("y", 3*lineMax), "\n")
		if err := os.WriteFile(task.Metrics, []byte(`{"final": 0.25}`), 0o644); err != nil {
			return err
		}
	}
	return writeModel(how, task)
}

// writeModel writes the sum of the features, in the form that is asked for.
func writeModel(how string, task *Task) error {
	const input = "input"
	b := onnx.NewBuilder("made")
	width := int64(len(task.Features))
	b.Opset("", learn.Opset)
	outputs := map[string]int64{"binary": 1, "regression": 1, "multiclass": int64(len(task.Classes))}[task.Task]
	switch how {
	case "inputs":
		b.Input("more", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(width))
	case "narrow":
		width--
	case "opset":
		b.Opset("", 12)
	case "wide":
		outputs = 5
	}
	weights := make([]float32, width*outputs)
	for i := range weights {
		weights[i] = float32(i%int(outputs)+1) / 4
	}
	b.Input(input, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(width))
	b.Initializer(onnx.TensorOf("weights", weights, width, outputs))
	b.Node("MatMul", []string{input, "weights"}, []string{"sum"})
	out := "sum"
	switch {
	case how == "log":
		b.Node("Log", []string{out}, []string{"scores"})
		out = "scores"
	case how == "raw" || how == "scores" || task.Task == "regression":
		name := "scores"
		if how == "raw" {
			name = "probabilities"
		}
		b.Node("Identity", []string{out}, []string{name})
		out = name
	case task.Task == "multiclass" || how == "opset":
		b.Node("Softmax", []string{out}, []string{"probabilities"}, onnx.IntAttribute("axis", 1))
		out = "probabilities"
	case how == "two":
		b.Node("Sigmoid", []string{out}, []string{"positive"})
		b.Initializer(onnx.TensorOf("one", []float32{1}))
		b.Node("Sub", []string{"one", "positive"}, []string{"negative"})
		b.Node("Concat", []string{"negative", "positive"}, []string{"probabilities"}, onnx.IntAttribute("axis", 1))
		b.Node("Cast", []string{"positive"}, []string{"label"}, onnx.IntAttribute("to", int64(onnx.ElemInt64)))
		b.Output("label", tensor.Int64, onnx.Symbol("rows"), onnx.Extent(1))
		out, outputs = "probabilities", 2
	default:
		b.Node("Sigmoid", []string{out}, []string{"p"})
		out = "p"
	}
	b.Output(out, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(outputs))
	data, err := b.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(task.Model, data, 0o644)
}

// tableOf has three features, of which the label of the second sort is a text.
func tableOf(task learn.Task, rows int) *learn.Table {
	t := &learn.Table{Task: task, Features: []learn.Feature{
		{Name: "amount", Type: column.Float64, Monotone: 1}, {Name: "label", Type: column.String, Categorical: true, Categories: []string{"web", "pos"}}, {Name: "age", Type: column.Int64},
	}, Weights: make([]float32, rows)}
	switch task {
	case learn.Binary:
		t.Classes = []string{"no", "yes"}
	case learn.Multiclass:
		t.Classes = []string{"a", "b", "c"}
	}
	t.Values = [][]float32{make([]float32, rows), make([]float32, rows), make([]float32, rows)}
	for row := range rows {
		t.Values[0][row], t.Values[1][row], t.Values[2][row] = float32(row%17)/8-1, float32(row%2), float32(row%5)-2
		t.Labels = append(t.Labels, float32(row%max(len(t.Classes), 1)))
		t.Weights[row] = float32(1 + row%2)
	}
	return t
}

func trainerOf(t testing.TB, how string, more learn.Values) learn.Trainer {
	t.Helper()
	m := Method()
	given := learn.Values{"program": fmt.Sprintf("'%s' %s", os.Args[0], how)}
	for name, v := range more {
		given[name] = v
	}
	v, err := m.Complete(given)
	must(t, err)
	trainer, err := m.New(v)
	must(t, err)
	return trainer
}

// TestModels expects raw scores of each form of output, from the model and from what it
// exports.
func TestModels(t *testing.T) {
	for _, c := range []struct {
		how  string
		task learn.Task
	}{
		{"one", learn.Binary}, {"two", learn.Binary}, {"scores", learn.Binary}, {"probabilities", learn.Multiclass}, {"scores", learn.Multiclass}, {"values", learn.Regression},
	} {
		t.Run(c.how+"/"+c.task.String(), func(t *testing.T) {
			table := tableOf(c.task, 200)
			m, err := trainerOf(t, c.how, nil).Fit(t.Context(), table, table.Select([]int32{1, 2, 3, 4}), learn.FitOptions{Workers: 1})
			must(t, err)
			got := make([]float32, table.Rows()*m.Outputs())
			m.Predict(table.Values, got)
			checkSums(t, c.how, table, m.Outputs(), got)
			for i, v := range runExported(t, m, table, native.Backend{}) {
				if math.Abs(float64(v-got[i])) > 1e-5*(1+math.Abs(float64(got[i]))) {
					t.Fatalf("value %d: exported %v, predicted %v", i, v, got[i])
				}
			}
			if m.Importance() != nil || !strings.Contains(m.Describe(), c.how) {
				t.Errorf("described as %s", m.Describe())
			}
		})
	}
}

// checkSums expects the sum of the features, by the weights of the model; probabilities of
// several classes give logits up to a constant of the row.
func checkSums(t *testing.T, how string, table *learn.Table, outputs int, got []float32) {
	t.Helper()
	for row := range table.Rows() {
		sum := float64(table.Values[0][row] + table.Values[1][row] + table.Values[2][row])
		shift := 0.0
		if how == "probabilities" {
			shift = float64(got[row*outputs]) - sum/4
		}
		for k := range outputs {
			want := sum*float64(k+1)/4 + shift
			if d := math.Abs(float64(got[row*outputs+k]) - want); d > 1e-4 {
				t.Fatalf("row %d, output %d: %v; want %v", row, k, got[row*outputs+k], want)
			}
		}
	}
}

// exported puts the model into a graph of ours, twice, since names must not clash.
func exported(t *testing.T, m learn.Model, table *learn.Table) string {
	t.Helper()
	b := onnx.NewBuilder("exported")
	b.Opset("", learn.Opset)
	b.Opset(learn.DomainML, learn.OpsetML)
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(len(table.Features))))
	b.Node("Identity", []string{"input"}, []string{learn.MatrixName})
	g := learn.NewGraph(b, learn.MatrixName, table.Features)
	first, err := m.Export(g)
	must(t, err)
	second, err := m.Export(g)
	must(t, err)
	b.Node("Add", []string{first, second}, []string{"twice"})
	b.Output("twice", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(m.Outputs())))
	data, err := b.Marshal()
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, modelName), data, 0o644))
	return dir
}

// runExported gives what the graph of exported does, in a backend.
func runExported(t *testing.T, m learn.Model, table *learn.Table, backend engine.Backend) []float32 {
	t.Helper()
	loaded, err := backend.Load(t.Context(), exported(t, m, table), &modelconfig.Config{Name: "exported"})
	must(t, err)
	instance, err := loaded.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(instance.Close(), loaded.Close())) })
	e := &model{features: len(table.Features), output: "twice", width: m.Outputs(), outputs: m.Outputs()}
	e.mu.instance = instance
	got := make([]float32, table.Rows()*m.Outputs())
	e.Predict(table.Values, got)
	for i := range got {
		got[i] /= 2
	}
	return got
}

// TestRuntime holds ONNX Runtime to what our engine predicts.
func TestRuntime(t *testing.T) {
	backend := onnxrttest.Backend(t)
	for how, task := range map[string]learn.Task{"one": learn.Binary, "two": learn.Binary, "probabilities": learn.Multiclass} {
		table := tableOf(task, 100)
		m, err := trainerOf(t, how, nil).Fit(t.Context(), table, nil, learn.FitOptions{})
		must(t, err)
		got := make([]float32, table.Rows()*m.Outputs())
		m.Predict(table.Values, got)
		for i, v := range runExported(t, m, table, backend) {
			if math.Abs(float64(v-got[i])) > 1e-5*(1+math.Abs(float64(got[i]))) {
				t.Fatalf("%s, value %d: %v there, %v here", how, i, v, got[i])
			}
		}
	}
}

func TestFailures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for how, want := range map[string]string{
		"crash":       "exit status 3",
		"nothing":     "wrote no model.onnx",
		"broken":      "model.onnx",
		"inputs":      "it has 2 inputs (more, input)",
		"narrow":      "[rows, 3]",
		"wide":        "5 values for each row; it needs 1",
		"log":         `output "scores": row`,
		"raw":         "no probability",
		"opset":       "Softmax of ai.onnx 12 cannot be taken over into ai.onnx 17",
		"bad-metrics": "not an object of numbers",
	} {
		_, err := trainerOf(t, how, nil).Fit(t.Context(), tableOf(learn.Binary, 50), nil, learn.FitOptions{})
		if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), os.Args[0]) {
			t.Errorf("%s: %.300v; want %q", how, err, want)
		}
		if how == "crash" && (!strings.Contains(err.Error(), "MemoryError: of 3 rows") || len(err.Error()) > LogMax+1000) {
			t.Errorf("%s: the log is not in the error, or too long: %d bytes", how, len(err.Error()))
		}
	}
	_, err := trainerOf(t, "one", learn.Values{"program": "no-such-program --fast"}).Fit(t.Context(), tableOf(learn.Binary, 50), nil, learn.FitOptions{})
	if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := trainerOf(t, "one", nil).Fit(t.Context(), tableOf(learn.Binary, 0), nil, learn.FitOptions{}); !errors.Is(err, learn.ErrData) {
		t.Errorf("no rows: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// checkGone expects a process to end soon; others end it.
func checkGone(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Error("the program did not begin")
		return
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}

// TestEnds expects no process to be left, however a run ends.
func TestEnds(t *testing.T) {
	// fit gives the process that the program started, 0 if it had said none.
	fit := func(t *testing.T, how string, timeout float64, told func(cancel func()) error) (child int, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err = trainerOf(t, how, learn.Values{"timeout_seconds": timeout}).Fit(ctx, tableOf(learn.Binary, 50), nil, learn.FitOptions{
			Progress: func(_, _ int, metrics map[string]float64) error {
				child = int(metrics["child"])
				return told(cancel)
			},
		})
		return child, err
	}
	const long = 600 // is not to pass
	nothing := func(func()) error { return nil }
	t.Run("timeout", func(t *testing.T) {
		// How long the program takes to begin is not known beforehand.
		child := 0
		for timeout := 2.0; child == 0 && timeout <= 64; timeout *= 2 {
			var err error
			child, err = fit(t, "hang", timeout, nothing)
			if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), fmt.Sprintf("ended after %v", time.Duration(timeout)*time.Second)) {
				t.Errorf("got %v", err)
			}
		}
		checkGone(t, child)
	})
	t.Run("cancel", func(t *testing.T) {
		child, err := fit(t, "hang", long, func(cancel func()) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		checkGone(t, child)
	})
	t.Run("progress", func(t *testing.T) {
		broken := errors.New("pruned")
		child, err := fit(t, "hang", long, func(func()) error { return fmt.Errorf("fit: %w", broken) })
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		checkGone(t, child)
	})
	t.Run("left", func(t *testing.T) {
		child, err := fit(t, "leave", long, nothing)
		if err != nil {
			t.Errorf("got %v", err)
		}
		checkGone(t, child)
	})
}

func TestProgress(t *testing.T) {
	var said []string
	_, err := trainerOf(t, "progress", nil).Fit(t.Context(), tableOf(learn.Binary, 50), nil, learn.FitOptions{
		Progress: func(step, total int, metrics map[string]float64) error {
			said = append(said, fmt.Sprint(step, "/", total, " ", metrics))
			return nil
		},
	})
	must(t, err)
	want := "1/3 map[odd:NaN valid_loss:1]; 2/3 map[odd:NaN valid_loss:0.5]; 3/3 map[odd:NaN valid_loss:0.3333333333333333]; 3/3 map[final:0.25]"
	if got := strings.Join(said, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParameters(t *testing.T) {
	m := Method()
	for want, given := range map[string]learn.Values{
		"it is missing":       {},
		"quote is not closed": {"program": "a 'b"},
		"not a JSON object":   {"program": "a", "parameters": "[1]"},
	} {
		v, err := m.Complete(given)
		must(t, err)
		if _, err := m.New(v); !errors.Is(err, learn.ErrParameters) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", given, err)
		}
	}
	argv, err := splitCommand(` python3  -c 'print("a b")' "" x"y z"`)
	if err != nil || strings.Join(argv, "|") != `python3|-c|print("a b")||xy z` {
		t.Errorf("%q, %v", argv, err)
	}
}

func TestOpsets(t *testing.T) {
	for _, c := range []struct {
		operator, domain string
		version          int64
		ok               bool
	}{
		{"Anything", "ai.onnx", 17, true}, {"Add", "ai.onnx", 15, true}, {"Cast", "ai.onnx", 9, true}, {"Add", "ai.onnx", 8, false}, {"Slice", "ai.onnx", 9, false}, {"Clip", "ai.onnx", 10, false}, {"Softmax", "ai.onnx", 13, true}, {"Softmax", "ai.onnx", 12, false},
		{"ReduceMean", "ai.onnx", 18, false}, {"ReduceSum", "ai.onnx", 18, true}, {"Anything", "ai.onnx", 16, false}, {"Gemm", "ai.onnx", 23, false},
		{"TreeEnsembleRegressor", "ai.onnx.ml", 1, true}, {"LabelEncoder", "ai.onnx.ml", 1, false}, {"LabelEncoder", "ai.onnx.ml", 2, true}, {"Scaler", "ai.onnx.ml", 5, false},
		{"Gelu", "com.microsoft", 1, false},
	} {
		if err := checkNode(c.operator, c.domain, c.version); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
