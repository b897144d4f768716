// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/training/learn"
)

// oddities are rows with columns of all kinds and values at the edges of what is allowed.
func oddities(rows int) *table {
	r := rand.New(rand.NewPCG(3, 4))
	c := &table{header: []string{"when", "flag", "count", "wide", "price", "tiny", "kind", "code", "copy", "flat", "yes", "three", "amount"}}
	kinds := []string{"a b", "ä,\"q\"", "<x>&amp;", "日本", "'; drop", "label"}
	for i := range rows {
		kind, code, price := r.IntN(len(kinds)), r.IntN(5), 100*r.NormFloat64()
		z := price/100 + float64(code%2) + r.NormFloat64() - 0.5*float64(kind%3)
		row := []string{
			fmt.Sprintf("2026-01-%02dT%02d:00:00.%06dZ", 1+i%28, i%24, i), strconv.FormatBool(r.IntN(2) == 0), strconv.Itoa(r.IntN(9) - 4),
			strconv.FormatInt(9_007_199_254_740_000+int64(r.IntN(1<<20)), 10), strconv.FormatFloat(price, 'g', -1, 64),
			strconv.FormatFloat(r.ExpFloat64()*1e-38, 'g', -1, 64), kinds[kind], strconv.Itoa(16_777_216 + code), strconv.FormatFloat(price, 'g', -1, 64), "7",
			strconv.Itoa(int(min(max(z+1, 0), 1))), []string{"low", "mid", "high"}[min(max(int(z+1), 0), 2)], strconv.FormatFloat(1000+50*z, 'g', -1, 64),
		}
		for k := 1; k < 8; k++ {
			if r.IntN(8) == 0 {
				row[k] = ""
			}
		}
		c.rows = append(c.rows, row)
	}
	return c
}

// TestEveryMethodServesWhatItLearnt exports each method for each task over columns of all
// kinds, and runs it on our engine and on ONNX Runtime.
func TestEveryMethodServesWhatItLearnt(t *testing.T) {
	if testing.Short() {
		t.Skip("fits some fifty models")
	}
	data := oddities(300).write(t)
	features := map[string]func(*Spec){
		"numbers": func(s *Spec) { s.Features = []string{"flag", "count", "wide", "price", "tiny", "copy", "flat", "when"} },
		"categories": func(s *Spec) {
			s.Features, s.Categorical = []string{"price", "code", "flag", "count"}, []string{"code", "flag"}
		},
		"texts":    func(s *Spec) { s.Features, s.Categorical = []string{"kind", "code", "price", "wide"}, []string{"code"} },
		"one":      func(s *Spec) { s.Features = []string{"price"} },
		"one text": func(s *Spec) { s.Features = []string{"kind"} },
	}
	labels := map[learn.Task]string{learn.Binary: "yes", learn.Multiclass: "three", learn.Regression: "amount"}
	metrics := map[learn.Task]string{learn.Binary: "roc_auc", learn.Multiclass: "accuracy", learn.Regression: "rmse"}
	settings := map[string]learn.Values{
		"trees": {"trees": 10}, "neural": {"epochs": 2, "hidden": "8"}, "rule": {"expression": "price > 10"},
		"linear": {"knots": 3, "bins": 4, "products": true, "log": "skewed"}, "logistic": {"knots": 3, "bins": 4, "products": true, "log": "skewed"},
	}
	for _, m := range Methods() {
		if m.Name == "command" || m.Name == methodLast {
			continue // one needs a program, the other is not served
		}
		for _, task := range m.Tasks {
			for name, columns := range features {
				if m.Name == "rule" && !strings.Contains("numbers categories texts one", name) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", m.Name, task, name), func(t *testing.T) {
					s := &Spec{Name: "odd", Task: task.String(), Label: labels[task], Metric: metrics[task]}
					columns(s)
					if task != learn.Regression {
						s.Calibrate.Method = []string{"", "platt", "isotonic", "temperature"}[len(name)%4]
					}
					s.Candidates = []Candidate{{Method: m.Name, Parameters: settings[m.Name]}}
					s.EnsureDefaults()
					if err := s.Validate(); err != nil {
						t.Fatal(err)
					}
					o := optionsOf(s, data)
					o.Output = filepath.Join(t.TempDir(), "odd")
					r := built(t, o) // which compares it with our engine
					if c := r.Candidates[len(r.Candidates)-1]; c.Error != "" {
						t.Fatal(c.Error)
					}
					t.Run("onnxruntime", func(t *testing.T) {
						again := optionsOf(s, data)
						again.Backend = onnxrttest.Backend(t)
						if _, err := Build(context.Background(), again); err != nil {
							t.Error(err)
						}
					})
				})
			}
		}
	}
}
