// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// weights of the models of the tests, over amount, age and night.
var (
	goodWeights = []float32{1.5, -1, 0.5}
	poorWeights = []float32{0.5, 0.2, 0.5}
)

var featureNames = []string{"amount", "age", "night"}

// world is a folder with data and models.
type world struct {
	folder           string
	data, train      string
	good, poor, file string
}

// payment is a row of the data; the label follows the good model.
type payment struct {
	id, customer int
	at           time.Time
	channel      string
	features     [3]float64
	fraud        bool
	score, old   float64
}

func payments(seed uint64, rows int, from time.Time) []payment {
	random := rand.New(rand.NewPCG(seed, 1))
	channels := []string{"web", "web", "web", "pos", "pos", "atm"}
	list := make([]payment, rows)
	for i := range list {
		p := payment{id: i, customer: random.IntN(rows/4 + 1), at: from.Add(time.Duration(i) * time.Minute), channel: channels[random.IntN(len(channels))]}
		for f := range p.features {
			p.features[f] = math.Round(random.NormFloat64()*1000) / 1000
		}
		p.score, p.old = logistic(goodWeights, p.features), logistic(poorWeights, p.features)
		p.fraud = random.Float64() < p.score
		list[i] = p
	}
	return list
}

func logistic(weights []float32, x [3]float64) float64 {
	sum := 0.
	for f, w := range weights {
		sum += float64(w) * x[f]
	}
	return 1 / (1 + math.Exp(-sum))
}

func writeCSV(t testing.TB, path string, list []payment) {
	t.Helper()
	var b strings.Builder
	b.WriteString("id,customer_id,event_timestamp,channel,amount,age,night,is_fraud,score,old\n")
	for _, p := range list {
		line := fmt.Sprintf("%d,%d,%s,%s,%v,%v,%v,%v,%v,%v\n", p.id, p.customer, p.at.Format(time.RFC3339), p.channel,
			p.features[0], p.features[1], p.features[2], p.fraud, p.score, p.old)
		b.WriteString(strings.ReplaceAll(line, "NaN", "")) // an empty cell is a null
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// classifier is a logistic regression with the outputs of a served model.
func classifier(t testing.TB, weights []float32, metadata string) []byte {
	t.Helper()
	b := onnx.NewBuilder("classifier")
	if metadata != "" {
		b.Metadata(signatureKey, metadata)
	}
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(len(weights))))
	b.Initializer(onnx.TensorOf("weights", weights, int64(len(weights)), 1))
	b.Initializer(onnx.TensorOf("one", []float32{1}, 1))
	b.Node("MatMul", []string{"input", "weights"}, []string{"logit"})
	b.Node("Sigmoid", []string{"logit"}, []string{"positive"})
	b.Node("Sub", []string{"one", "positive"}, []string{"negative"})
	b.Node("Concat", []string{"negative", "positive"}, []string{"probabilities"}, onnx.IntAttribute("axis", 1))
	b.Node("ArgMax", []string{"probabilities"}, []string{"label"}, onnx.IntAttribute("axis", 1), onnx.IntAttribute("keepdims", 0))
	b.Output("label", tensor.Int64, onnx.Symbol("rows"))
	b.Output("probabilities", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(2))
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

const featuresMetadata = `{"service":"fraud","features":[{"name":"amount","type":"float64"},{"name":"age","type":"float64"},{"name":"night","type":"float64"}]}`

func newWorld(t testing.TB, rows int) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{folder: dir, data: filepath.Join(dir, "test.csv"), train: filepath.Join(dir, "train.csv"),
		good: filepath.Join(dir, "models", "fraud"), poor: filepath.Join(dir, "models", "fraud@1"), file: filepath.Join(dir, "bare.onnx")}
	start := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	writeCSV(t, w.train, payments(1, rows, start))
	writeCSV(t, w.data, payments(2, rows, start.AddDate(0, 1, 0)))
	writeFile(t, filepath.Join(w.good, "1", "model.onnx"), classifier(t, poorWeights, featuresMetadata))
	writeFile(t, filepath.Join(w.good, "2", "model.onnx"), classifier(t, goodWeights, featuresMetadata))
	writeFile(t, w.file, classifier(t, goodWeights, ""))
	return w
}

// options evaluate the good model against the poor one, with few draws.
func (w *world) options() Options {
	draws := 100
	return Options{
		Spec: Spec{
			Data: w.data, Label: "is_fraud", Model: w.good, Against: w.poor, Cluster: "customer_id", Time: "event_timestamp",
			Metrics:   []Metric{{Text: "roc_auc"}, {Text: "average_precision"}, {Text: "log_loss"}, {Text: "f1"}},
			Slices:    []Slice{SliceOf("channel"), SliceOf("amount > 1"), {Column: "amount", Bins: 3}, {Cross: []string{"channel", "night"}}},
			Bootstrap: Bootstrap{Draws: &draws, Seed: 7},
			Margin:    0.02,
			Leakage:   Leakage{Train: w.train},
		},
		Now: func() time.Time { return time.Unix(0, 0) }, Version: "test", NoLatency: true,
	}
}

func evaluate(t testing.TB, o Options) *report.Report {
	t.Helper()
	r, err := Evaluate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func number(v float64) *float64 { return &v }

func metricNamed(t testing.TB, list []report.Metric, name string) *report.Metric {
	t.Helper()
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

func gateOf(metric string, set func(*gate.Gate)) gate.Gate {
	g := gate.Gate{Metric: metric}
	set(&g)
	return g
}
