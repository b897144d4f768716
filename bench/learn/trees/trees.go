// SPDX-License-Identifier: Apache-2.0

// Package trees compares the time of our tree trainer with XGBoost's on the same rows, in
// the same minute: fits of the two take turns, and medians are compared. Binning counts,
// reading the rows does not. XGBoost runs in a Python process that stays up, with
// OMP_WAIT_POLICY=passive, since threads that spin while they wait take the cores from
// whoever comes next.
package trees

import (
	"bufio"
	"context"
	_ "embed" // fit.py
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
	ours "github.com/millrace-ml/millrace/training/trees"
)

//go:embed fit.py
var fitScript []byte

// Options of a comparison. Zero numbers are those of the target: 100,000 rows, 28
// features, 100 trees, two threads, depths 6 and 8, 5 rounds.
type Options struct {
	// Python is an interpreter that has the packages of requirements.txt.
	Python                                 string
	Rows, Features, Trees, Threads, Rounds int
	Depths                                 []int
}

func (o *Options) ensureDefaults() {
	for _, d := range []struct {
		to    *int
		value int
	}{{&o.Rows, 100_000}, {&o.Features, 28}, {&o.Trees, 100}, {&o.Threads, 2}, {&o.Rounds, 5}} {
		if *d.to == 0 {
			*d.to = d.value
		}
	}
	if o.Depths == nil {
		o.Depths = []int{6, 8}
	}
}

// Result is the comparison at one depth.
type Result struct {
	Depth int
	// Ours and Theirs are medians over rounds, Ratio the median of the rounds' ratios.
	Ours, Theirs time.Duration
	Ratio        float64
	// OursAUC and TheirsAUC are on rows that neither learnt from.
	OursAUC, TheirsAUC float64
}

func (r Result) String() string {
	return fmt.Sprintf("depth %d: ours %v, XGBoost %v, ratio %.2f; AUC %.4f and %.4f", r.Depth,
		r.Ours.Round(time.Millisecond), r.Theirs.Round(time.Millisecond), r.Ratio, r.OursAUC, r.TheirsAUC)
}

// Run compares. It ends soon after ctx does.
func Run(ctx context.Context, o Options) (results []Result, err error) {
	o.ensureDefaults()
	if o.Features < 9 {
		return nil, fmt.Errorf("%d features: the labels depend on 9", o.Features)
	}
	folder, err := os.MkdirTemp("", "millrace-bench-trees-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	train, test := rowsOf(o.Rows, o.Features, 1), rowsOf(max(o.Rows/5, 1000), o.Features, 2)
	for name, values := range map[string][]float32{"train.f32": byRow(train), "labels.f32": train.Labels, "test.f32": byRow(test)} {
		if err := write(filepath.Join(folder, name), values); err != nil {
			return nil, err
		}
	}
	their, err := start(ctx, o, folder, test.Rows())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, their.close()) }()
	for _, depth := range o.Depths {
		r, err := compare(ctx, o, depth, train, test, their)
		if err != nil {
			return nil, fmt.Errorf("depth %d: %w", depth, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// compare takes turns, after one that does not count.
func compare(ctx context.Context, o Options, depth int, train, test *learn.Table, their *process) (Result, error) {
	r := Result{Depth: depth}
	var mine, others, ratios []float64
	for round := range o.Rounds + 1 {
		model, seconds, err := fit(ctx, o, depth, train)
		if err != nil {
			return r, err
		}
		theirs, scores, err := their.fit(depth)
		if err != nil {
			return r, err
		}
		if round > 0 {
			mine, others, ratios = append(mine, seconds), append(others, theirs), append(ratios, seconds/theirs)
			continue
		}
		to := make([]float32, test.Rows())
		model.Predict(test.Values, to)
		r.OursAUC, r.TheirsAUC = areaUnder(to, test.Labels), areaUnder(scores, test.Labels)
	}
	r.Ours, r.Theirs, r.Ratio = duration(median(mine)), duration(median(others)), median(ratios)
	return r, nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func fit(ctx context.Context, o Options, depth int, train *learn.Table) (learn.Model, float64, error) {
	method := ours.Method()
	values, err := method.Complete(learn.Values{"trees": o.Trees, "max_depth": depth, "learning_rate": 0.1})
	if err != nil {
		return nil, 0, err
	}
	trainer, err := method.New(values)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	model, err := trainer.Fit(ctx, train, nil, learn.FitOptions{Workers: o.Threads})
	return model, time.Since(start).Seconds(), err
}

// process is XGBoost in Python.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	folder  string
}

func start(ctx context.Context, o Options, folder string, testRows int) (*process, error) {
	script := filepath.Join(folder, "fit.py")
	if err := os.WriteFile(script, fitScript, 0o600); err != nil {
		return nil, err
	}
	arguments := []string{"-B", script, folder}
	for _, n := range []int{o.Rows, testRows, o.Features, o.Trees, o.Threads} {
		arguments = append(arguments, strconv.Itoa(n))
	}
	c := exec.CommandContext(ctx, o.Python, arguments...)
	c.Env = append(os.Environ(), "OMP_WAIT_POLICY=passive")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Python, err)
	}
	return &process{c, in, bufio.NewReader(out), folder}, nil
}

func (p *process) fit(depth int) (seconds float64, scores []float32, err error) {
	if _, err := fmt.Fprintln(p.in, depth); err != nil {
		return 0, nil, fmt.Errorf("xgboost: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("xgboost: %w", err)
	}
	if seconds, err = strconv.ParseFloat(strings.TrimSpace(line), 64); err != nil {
		return 0, nil, fmt.Errorf("xgboost: %w", err)
	}
	content, err := os.ReadFile(filepath.Join(p.folder, "scores.f32"))
	if err != nil {
		return 0, nil, err
	}
	scores = make([]float32, len(content)/4)
	for i := range scores {
		scores[i] = math.Float32frombits(binary.LittleEndian.Uint32(content[4*i:]))
	}
	return seconds, scores, nil
}

func (p *process) close() error {
	return errors.Join(p.in.Close(), p.command.Wait())
}

// rowsOf makes rows whose label depends on nine features, not in a straight line.
func rowsOf(rows, features int, seed uint64) *learn.Table {
	r := rand.New(rand.NewPCG(seed, 7))
	t := &learn.Table{Task: learn.Binary, Classes: []string{"0", "1"}, Labels: make([]float32, rows), Values: make([][]float32, features)}
	for f := range features {
		t.Features = append(t.Features, learn.Feature{Name: fmt.Sprint("x", f), Type: column.Float64})
		t.Values[f] = make([]float32, rows)
		for i := range t.Values[f] {
			t.Values[f][i] = float32(r.NormFloat64())
		}
	}
	for i := range t.Labels {
		x := func(f int) float64 { return float64(t.Values[f][i]) }
		z := 1.5*x(0)*x(1) + 2*math.Sin(2*x(2)) + x(3) - 0.8*x(4)*x(4) + 1.2*math.Abs(x(5)) + 0.7*x(6)*x(7) - 0.5*x(8) - 0.15
		if r.Float64() < 1/(1+math.Exp(-1.5*z)) {
			t.Labels[i] = 1
		}
	}
	return t
}

func byRow(t *learn.Table) []float32 {
	matrix := make([]float32, 0, t.Rows()*len(t.Values))
	for i := range t.Rows() {
		for _, values := range t.Values {
			matrix = append(matrix, values[i])
		}
	}
	return matrix
}

func write(name string, values []float32) error {
	content, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}

// areaUnder is the ROC AUC; ties are not expected among as many scores.
func areaUnder(scores, labels []float32) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case scores[a] < scores[b]:
			return -1
		case scores[a] > scores[b]:
			return 1
		}
		return 0
	})
	positives, ranks := 0.0, 0.0
	for rank, i := range order {
		if labels[i] > 0 {
			positives++
			ranks += float64(rank + 1)
		}
	}
	return (ranks - positives*(positives+1)/2) / (positives * (float64(len(labels)) - positives))
}
