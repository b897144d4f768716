// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func judged(t *testing.T, p *pair, o Options, labels ...string) map[string]Metric {
	t.Helper()
	o.ensureDefaults()
	o.Data = &dataset.Data{Labels: labels, Rows: len(labels), Unit: 1}
	c := &comparison{outputs: []*Difference{{Output: "y"}}, kept: map[string]*pair{"y": p}}
	metrics, err := c.judge(&o)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]Metric)
	for _, m := range metrics {
		byName[m.Name] = m
	}
	return byName
}

func TestBinaryScores(t *testing.T) {
	p := &pair{datatype: tensor.FP32, columns: 1, before: []float64{0.1, 0.4, 0.35, 0.8}, after: []float64{0.1, 0.3, 0.35, 0.8}}
	m := judged(t, p, Options{}, "0", "0", "1", "1.0")
	near(t, "auc before", m["auc"].Before, 0.75, 1e-12) // the example of scikit-learn's roc_auc_score
	near(t, "auc after", m["auc"].After, 1, 1e-12)
	near(t, "accuracy", m["accuracy"].Before, 0.75, 1e-12)
	want := -(math.Log(0.9) + math.Log(0.6) + math.Log(0.35) + math.Log(0.8)) / 4
	near(t, "log loss", m["log_loss"].Before, want, 1e-12)

	logits := &pair{datatype: tensor.FP32, columns: 1, before: []float64{-3, 2}, after: []float64{-3, 2}}
	m = judged(t, logits, Options{}, "0", "1")
	near(t, "log loss of logits", m["log_loss"].Before, (math.Log(1+math.Exp(-3))+math.Log(1+math.Exp(-2)))/2, 1e-12)
	near(t, "accuracy of logits", m["accuracy"].Before, 1, 0)

	ties := &pair{datatype: tensor.FP32, columns: 2, before: []float64{0.5, 0.5, 0.5, 0.5}, after: []float64{0.9, 0.1, 0.2, 0.8}}
	m = judged(t, ties, Options{}, "no", "yes")
	near(t, "auc of ties", m["auc"].Before, 0.5, 1e-12)
	near(t, "auc of texts in their order", m["auc"].After, 1, 1e-12)
}

func TestManyClasses(t *testing.T) {
	p := &pair{datatype: tensor.FP32, columns: 3, before: []float64{0.7, 0.2, 0.1, 0.1, 0.1, 0.8}, after: []float64{0.1, 0.2, 0.7, 0.1, 0.1, 0.8}}
	m := judged(t, p, Options{}, "0", "2")
	near(t, "accuracy before", m["accuracy"].Before, 1, 0)
	near(t, "accuracy after", m["accuracy"].After, 0.5, 0)
	if _, some := m["auc"]; some {
		t.Error("auc of three classes")
	}
	if _, err := classIndices([]string{"red", "green"}, 3); err == nil || !strings.Contains(err.Error(), "2 classes") {
		t.Errorf("two names for three columns give %v", err)
	}
	indices, err := classIndices([]string{"10", "2", "2.0"}, 2) // numbers are ordered as such
	if err != nil || indices[0] != 1 || indices[1] != 0 || indices[2] != 0 {
		t.Errorf("got %v, %v", indices, err)
	}
}

func TestRegressionAndLabels(t *testing.T) {
	p := &pair{datatype: tensor.FP32, columns: 1, before: []float64{1, 5}, after: []float64{2, 3}}
	m := judged(t, p, Options{}, "2", "3")
	near(t, "rmse", m["rmse"].Before, math.Sqrt(2.5), 1e-12)
	near(t, "mae", m["mae"].Before, 1.5, 1e-12)
	near(t, "rmse after", m["rmse"].After, 0, 0)
	m = judged(t, p, Options{Task: TaskRegression}, "0", "1")
	near(t, "rmse of 0 and 1", m["rmse"].Before, math.Sqrt(8.5), 1e-12)

	texts := &pair{datatype: tensor.Bytes, columns: 1, beforeTexts: []string{"a", "b"}, afterTexts: []string{"a", "a"}}
	m = judged(t, texts, Options{}, "a", "b")
	near(t, "labels before", m["accuracy"].Before, 1, 0)
	near(t, "labels after", m["accuracy"].After, 0.5, 0)

	c := &comparison{outputs: []*Difference{{Output: "y"}}, kept: map[string]*pair{"y": p}}
	o := &Options{Task: TaskRegression, Data: &dataset.Data{Labels: []string{"1", "x"}, Rows: 2, Unit: 1}}
	if _, err := c.judge(o); err == nil || !strings.Contains(err.Error(), `label "x" of row 1`) {
		t.Errorf("a label that is no number gives %v", err)
	}
	o.Output = "other"
	if _, err := c.judge(o); err == nil {
		t.Error("an output that is not there was judged")
	}
}

func TestDifferences(t *testing.T) {
	d, sums := new(Difference), [2]float64{}
	nan := math.NaN()
	d.addNumbers([]float64{3, -4, nan, 1, 0}, []float64{3, -5, nan, nan, 1}, &sums)
	rms := math.Sqrt((9 + 16 + 1 + 0) / 4.0)
	if d.MaxAbs != 1 || d.Broken != 1 || d.Elements != 5 || sums[0] != 2 {
		t.Errorf("%+v %v", d, sums)
	}
	near(t, "relative", d.MaxRelative, 1/rms, 1e-12) // of the 0, to what is typical
	d.addArgMax([]float64{1, 2, 5, 4}, []float64{2, 1, 5, 4}, tensor.Shape{2, 2})
	if d.ArgMaxRows != 2 || d.ArgMaxChanged != 1 {
		t.Errorf("%+v", d)
	}
	texts := func(list ...string) *tensor.Tensor {
		x := &tensor.Tensor{Datatype: tensor.Bytes, Shape: tensor.Shape{int64(len(list))}}
		for _, s := range list {
			x.Data = tensor.AppendBytes(x.Data, []byte(s))
		}
		return x
	}
	d.addEqual(texts("a", "b"), texts("a", "c"))
	if d.Changed != 1 {
		t.Errorf("%d texts changed", d.Changed)
	}
}
