// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"time"
)

func ptr[T any](v T) *T { return &v }

func est(v, low, high float64) Estimate {
	return Estimate{Value: &v, Low: &low, High: &high, Level: 0.95}
}

// compared is a metric of a challenger and a champion whose interval is as wide as said.
func compared(name, better string, value, against, half float64) Metric {
	v, a := est(value, value-half, value+half), est(against, against-half, against+half)
	d := est(value-against, value-against-half/3, value-against+half/3)
	return Metric{Name: name, Better: better, Value: v, Against: &a, Difference: &d,
		Baselines: []*float64{ptr(0.5), nil}, Rows: 48212}
}

// cardReport is what an evaluation of card payments looks like, with all there can be.
func cardReport() *Report {
	from, to := time.Date(2018, 8, 8, 0, 0, 31, 0, time.UTC), time.Date(2018, 8, 14, 23, 59, 58, 0, time.UTC)
	r := &Report{
		Version: Version, Created: time.Date(2026, 3, 2, 14, 5, 6, 0, time.UTC), Millrace: "0.5.0",
		Title: "Card fraud, week of 8 August", Task: "binary", Verdict: Fail,
		Method: "bootstrap of 1000 draws by customer_id",
		Data: Data{Path: "transactions.parquet", SHA256: "4f1c0a9be3", Rows: 48212, Positives: 385,
			Excluded: map[string]int{"known card": 10144, "no label yet": 12}, From: &from, To: &to,
			Cluster: "customer_id", Clusters: 4102},
		Model: Model{Name: "fraud", Version: "12", Path: "models/fraud/12/model.onnx", SHA256: "9a77e1",
			Bytes: 734003, Backend: "native", Threshold: 0.31,
			Latency: &Latency{RowP50Micros: 3.42, RowP99Micros: 8.9, BatchRows: 1024, RowsPerSecond: 1234567.8}},
		Against:   &Model{Name: "fraud", Version: "11", Bytes: 1 << 21, Backend: "native", Threshold: 0.25},
		Baselines: []Model{{Name: "constant"}, {Name: "rule", Version: "amount > 220"}},
		Metrics: []Metric{
			compared("average_precision", "higher", 0.6613, 0.6391, 0.045),
			compared("roc_auc", "higher", 0.8712, 0.8623, 0.03),
			compared("log_loss", "lower", 0.0291, 0.0262, 0.002),
			compared("cost", "lower", 81234, 82110, 9000),
			{Name: "card_precision@100", Better: "higher", Value: Estimate{}, Rows: 48212, Note: "not defined: no day has 100 customers"},
		},
		Gates: []Gate{
			{Name: "good enough", Condition: "average_precision is at least 0.6 (lower end of the 95 % interval)", Observed: "0.6163", Holds: true},
			{Name: "no worse calibrated", Condition: "log_loss is not worse than the champion's by more than 0.001", Observed: "+0.0029 [+0.0022, +0.0036]",
				Reason: "The model's log_loss is 0.0029 above the champion's, and at least 0.0022 with 95 % confidence."},
			{Name: "fast", Condition: "one row takes at most 5 µs", Observed: "8.9 µs (p99)", Warning: true, Reason: "The slowest hundredth takes 8.9 µs."},
		},
		Tests: []Test{
			{Name: "delong", Metric: "roc_auc", Hypothesis: "no difference", Statistic: ptr(1.21), P: ptr(0.2263)},
			{Name: "paired_bootstrap", Metric: "average_precision", Slice: "channel=web", Hypothesis: "worse by more than 0.01", P: ptr(0.0004), Adjusted: ptr(0.0032)},
			{Name: "mcnemar", Metric: "accuracy", Hypothesis: "no difference", Statistic: ptr(0.0), P: nil},
		},
		Leakage: []Finding{
			{Check: "predictor", Subject: "fraud_scenario", Detail: "alone it has a ROC AUC of 1.000", Severe: true},
			{Check: "duplicates", Detail: "rows that are in the training data too", Rows: 31},
		},
		Warnings: []string{"the interval of average_precision rests on 385 positives"},
	}
	for i, name := range []string{"channel=web", "customer_age < 25", "country=NO", "amount > 220", "terminal_age=new", "hour <= 6",
		"country=SE", "country=FI", "country=DK", "country=IS", "merchant_category=travel agencies and tour operators", "country=DE"} {
		v := 0.48 + 0.02*float64(i)
		r.Slices = append(r.Slices, Slice{Name: name, Rows: 9000 / (i + 1), Metrics: []Metric{
			compared("average_precision", "higher", v, v+0.05-0.01*float64(i), 0.06+0.01*float64(i%4)),
			compared("roc_auc", "higher", 0.8+0.005*float64(i), 0.83, 0.04)}})
	}
	r.Slices = append(r.Slices, Slice{Name: "country=LI", Rows: 12, Skipped: "12 rows, fewer than 100"})
	r.Plots = cardPlots()
	return r
}

// cardPlots has curves as a rare class has them.
func cardPlots() Plots {
	var p Plots
	for m, name := range []string{"fraud 12", "champion fraud 11"} {
		k := 6 - 1.5*float64(m)
		roc, pr, rel := Curve{Name: name}, Curve{Name: name}, Curve{Name: name}
		for i := range 101 {
			x := float64(i) / 100
			roc.X, roc.Y = append(roc.X, x*x), append(roc.Y, 1-math.Pow(1-x*x, k))
			pr.X, pr.Y = append(pr.X, x), append(pr.Y, 0.008+0.95*math.Pow(1-x, 0.5+0.1*float64(m))+0.01*math.Sin(9*x))
		}
		for i := range 10 {
			x := (float64(i) + 0.5) / 10
			rel.X, rel.Y = append(rel.X, x), append(rel.Y, math.Pow(x, 1.2+0.2*float64(m)))
			rel.Counts = append(rel.Counts, 40000/(1+i*i*i*(m+2)))
		}
		p.ROC, p.PrecisionRecall = append(p.ROC, roc), append(p.PrecisionRecall, pr)
		p.Reliability = append(p.Reliability, rel)
	}
	for c, name := range []string{"genuine", "fraud"} {
		h := Histogram{Name: name, Edges: []float64{0}}
		for i := range 25 {
			h.Edges = append(h.Edges, float64(i+1)/25)
			n := 40000 * math.Exp(-0.6*float64(i))
			if c == 1 {
				n = 40 * (0.3 + math.Pow(float64(i)/25, 3))
			}
			h.Counts = append(h.Counts, int(n))
		}
		p.Scores = append(p.Scores, h)
	}
	p.Confusion = &Confusion{Classes: []string{"genuine", "fraud"}, Counts: [][]int{{47612, 215}, {131, 254}}}
	return p
}

// classReport has many classes and no champion.
func classReport(classes int) *Report {
	c := &Confusion{}
	for i := range classes {
		c.Classes = append(c.Classes, fmt.Sprintf("intent_%d", i))
		row := make([]int, classes)
		for j := range row {
			row[j] = 3 * (1 + i*j) % 7
		}
		row[i] = 20 + i
		c.Counts = append(c.Counts, row)
	}
	return &Report{Title: "Intents", Task: "multiclass", Verdict: Pass, Data: Data{Path: "test.csv", Rows: 3080},
		Model:   Model{Name: "intents", Version: "3"},
		Metrics: []Metric{{Name: "accuracy", Better: "higher", Value: est(0.912, 0.9, 0.92), Rows: 3080}},
		Gates:   []Gate{{Name: "accuracy", Condition: "accuracy is at least 0.9", Observed: "0.912", Holds: true}},
		Plots:   Plots{Confusion: c}}
}

// valueReport is of a regression.
func valueReport() *Report {
	c := Curve{Name: "demand 2"}
	for i := range 400 {
		x := 100 * math.Abs(math.Sin(float64(i)))
		c.X, c.Y = append(c.X, x), append(c.Y, x*0.95+8*math.Sin(7*float64(i)))
	}
	return &Report{Title: "Demand", Task: "regression", Verdict: NoGates, Data: Data{Path: "elec.csv", Rows: 45312},
		Model:   Model{Name: "demand", Version: "2"},
		Metrics: []Metric{{Name: "rmse", Better: "lower", Value: est(5.81, 5.6, 6.02), Rows: 45312}},
		Plots:   Plots{Residuals: []Curve{c}}}
}

// hostileText tries to get out of HTML, XML, Markdown and a terminal.
const hostileText = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>|`a`|**b**\n\n# h ]]> &amp; @everyone #1 https://evil.example \x1b[31m\x00\u202e\xff{{.}} <!-- --"

// hostileReport has hostileText wherever a text can be, and numbers that are none.
func hostileReport() *Report {
	h, nan, inf := hostileText, math.NaN(), math.Inf(1)
	bad := Estimate{Value: &nan, Low: &inf, High: &nan, Level: nan}
	m := Metric{Name: h, Better: h, Value: bad, Against: &bad, Difference: &bad, Baselines: []*float64{&nan, nil, &inf}, Note: h}
	good := compared(h, "higher", 1, 2, 0.5)
	curves := []Curve{{Name: h, X: []float64{0, nan, 1}, Y: []float64{0, 1, inf}, Counts: []int{1, 2, 3}},
		{Name: h, X: []float64{0, 1, 2}, Y: []float64{1}}, {Name: h}}
	return &Report{
		Millrace: h, Title: h, Task: h, Verdict: Fail, Method: h, Warnings: []string{h},
		Data:      Data{Path: h, SHA256: h, Rows: -1, Excluded: map[string]int{h: 3}, Classes: map[string]int{h: 1}, Cluster: h},
		Model:     Model{Name: h, Version: h, Path: h, Backend: h, SHA256: h, Threshold: nan, Latency: &Latency{nan, inf, 0, inf}},
		Against:   &Model{Name: h},
		Baselines: []Model{{Name: h}},
		Metrics:   []Metric{m, good},
		Slices:    []Slice{{Name: h, Metrics: []Metric{m, good}}, {Name: h, Skipped: h}},
		Tests:     []Test{{Name: h, Metric: h, Slice: h, Hypothesis: h, Statistic: &inf, P: &nan, Adjusted: &nan}},
		Gates:     []Gate{{Name: h, Condition: h, Observed: h, Reason: h}, {Name: h, Warning: true, Reason: h}, {Name: h, Holds: true}},
		Leakage:   []Finding{{Check: h, Subject: h, Detail: h, Rows: 1, Severe: true}},
		Plots: Plots{ROC: curves, PrecisionRecall: curves, Reliability: curves, Residuals: curves,
			Scores: []Histogram{{Name: h, Edges: []float64{0, 0}, Counts: []int{0}}, {Name: h, Edges: []float64{nan, 1}, Counts: []int{1}},
				{Name: h, Edges: []float64{1, 0}, Counts: []int{1}}, {Name: h}},
			Confusion: &Confusion{Classes: []string{h, h}, Counts: [][]int{{0, 0}, {-1, 5}}}},
	}
}
