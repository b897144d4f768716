// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

const attributedPolicies = `
decisions:
  attributed:
    service: fraud
    reasons: {LARGE: a large payment, AMOUNT: the amount, SPENT: what was spent}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    explain:
      max: 3
      rules: [{code: LARGE, when: amount > 500}]
      attributions: {codes: {amount: AMOUNT, "spent__*": SPENT}, min_share: 0.1, when: decision == 'block' and amount != 160}
    fallback: [previous_version, default: {decision: approve}]
  classes:
    service: fraud
    model: {name: classes, class: 1}
    reasons: {AMOUNT: the amount}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    explain: {attributions: {codes: {amount: AMOUNT}}}
  named:
    service: texts
    reasons: {PLACE: the country, PAYMENTS: the payments}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    explain: {attributions: {codes: {country: PLACE, payments: PAYMENTS}}}
  hurried:
    service: fraud
    budget: {total: 1m}
    reasons: {AMOUNT: the amount}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    explain: {attributions: {codes: {amount: AMOUNT}, reserve: 30s}}
`

// writeModel writes a model over the vector of the service fraud.
func writeModel(t testing.TB, add func(b *onnx.Builder)) string {
	t.Helper()
	b := onnx.NewBuilder("scores")
	b.Opset("ai.onnx.ml", 3)
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(3))
	b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Unknown())
	add(b)
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stump is two trees of one split each: amount <= 100 and spent__payments <= 2, of which half
// of the training rows held. A row adds or loses the size for each.
func stump(amount, payments float32) func(b *onnx.Builder) {
	return func(b *onnx.Builder) {
		b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{"input"}, []string{"scores"},
			onnx.IntAttribute("n_targets", 1), onnx.FloatsAttribute("base_values", -1),
			onnx.IntsAttribute("nodes_treeids", 0, 0, 0, 1, 1, 1), onnx.IntsAttribute("nodes_nodeids", 0, 1, 2, 0, 1, 2),
			onnx.IntsAttribute("nodes_featureids", 0, 0, 0, 1, 0, 0),
			onnx.StringsAttribute("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"),
			onnx.FloatsAttribute("nodes_values", 100, 0, 0, 2, 0, 0), onnx.FloatsAttribute("nodes_hitrates", 8, 4, 4, 8, 4, 4),
			onnx.IntsAttribute("nodes_truenodeids", 1, 0, 0, 1, 0, 0), onnx.IntsAttribute("nodes_falsenodeids", 2, 0, 0, 2, 0, 0),
			onnx.IntsAttribute("target_treeids", 0, 0, 1, 1), onnx.IntsAttribute("target_nodeids", 1, 2, 1, 2), onnx.IntsAttribute("target_ids", 0, 0, 0, 0),
			onnx.FloatsAttribute("target_weights", -amount, amount, -payments, payments))
	}
}

// stumpVersion serves a stump: the score is a sigmoid of what the trees say.
func stumpVersion(t testing.TB, amount, payments float32) *fakeVersion {
	v := vectorVersion(func(_ context.Context, row []float64) (float64, error) {
		return sigmoid(stumpScore(row, amount, payments)), nil
	})
	v.file = writeModel(t, stump(amount, payments))
	return v
}

func stumpScore(row []float64, amount, payments float32) float64 {
	raw := -1.0
	for i, at := range []float64{100, 2} {
		size := float64([]float32{amount, payments}[i])
		if row[i] <= at {
			size = -size
		}
		raw += size
	}
	return raw
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// linear weighs the three features, after a scaler whose mean is 0 but for the amount's.
func linear(weights ...float32) func(b *onnx.Builder) {
	return func(b *onnx.Builder) {
		b.DomainNode("ai.onnx.ml", "Scaler", []string{"input"}, []string{"scaled"}, onnx.FloatsAttribute("offset", 50, 0, 0), onnx.FloatsAttribute("scale", 0.1))
		b.Initializer(onnx.TensorOf("w", weights, 3, int64(len(weights)/3)))
		b.Node("MatMul", []string{"scaled", "w"}, []string{"scores"})
	}
}

// explainable waits for the attributor of the version that a decision is bound to.
func (b *bench) explainable(decision string) *attributor {
	b.t.Helper()
	for {
		if by := b.front.decisions[decision].arms[0].current.Load().attributor.Load(); by != nil {
			return by
		}
		if b.t.Context().Err() != nil {
			b.t.Fatal("no attributor came")
		}
		runtime.Gosched()
	}
}

// bind binds the current versions, and waits for the attributor of a decision.
func (b *bench) bind(decision string) *attributor {
	b.t.Helper()
	b.must(decision, "", facts{"customer_id": 1, "amount": 1.0})
	return b.explainable(decision)
}

// TestAttributions: what pushed the score are the reasons of the answer, and its parts come
// with it.
func TestAttributions(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	if first := b.must("attributed", "", facts{"customer_id": 1, "amount": 1.0}); first.Contributions == nil && (!first.Degraded || first.Unattributed != errNotOpened.Error()) {
		t.Errorf("before there is an explainer: %+v", first)
	}
	b.explainable("attributed")
	for _, c := range []struct {
		amount        float64
		codes         string
		contributions []float64
	}{
		{150, "AMOUNT", []float64{2, -1, 0}}, {50, "", []float64{-2, -1, 0}}, {700, "LARGE,AMOUNT", []float64{2, -1, 0}},
	} {
		a := b.must("attributed", "", facts{"customer_id": 1, "amount": c.amount})
		if codes(a) != c.codes || !slices.Equal(a.Contributions, c.contributions) || a.Base != -1 || a.Degraded || a.Unattributed != "" {
			t.Errorf("amount %v: %s, %v from %v, %q %q", c.amount, codes(a), a.Contributions, a.Base, a.DegradedReason, a.Unattributed)
		}
		if raw := math.Log(a.Score / (1 - a.Score)); math.Abs(a.Base+a.Contributions[0]+a.Contributions[1]-raw) > 1e-6 {
			t.Errorf("amount %v: the parts %v of %v do not sum to %v", c.amount, a.Contributions, a.Base, raw)
		}
	}
	records := b.records(DecisionStream)
	if last := records[len(records)-1]; last.Values[columnReasons].Text() != "LARGE,AMOUNT" {
		t.Errorf("the log has %s", last.Values[columnReasons].Text())
	}
}

// TestAttributionsOnDemand: a request that does not ask has reasons where the policy's
// condition holds, and never the parts.
func TestAttributionsOnDemand(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	b.bind("attributed")
	for amount, want := range map[float64]string{150: "AMOUNT", 160: ""} { // the condition leaves 160 out
		q, err := b.front.NewRequest("attributed")
		if err != nil {
			t.Fatal(err)
		}
		if err := setFacts(q, "", facts{"customer_id": 1, "amount": amount}); err != nil {
			t.Fatal(err)
		}
		a, err := b.front.Decide(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if codes(*a) != want || a.Contributions != nil || a.Unattributed != "" || a.Degraded || a.Decision != "block" {
			t.Errorf("amount %v: %+v", amount, a)
		}
		q.Release()
	}
}

// TestAttributionsOfALinearModel with two classes, of which the policy names one.
func TestAttributionsOfALinearModel(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	v := constant(0.75)
	v.outputs[0].Width = 2
	v.file = writeModel(t, linear(1, -1, 2, -2, 3, -3))
	b.models.set("classes", 1, v)
	b.bind("classes")
	a := b.must("classes", "", facts{"customer_id": 1, "amount": 20.0})
	if want := []float64{3, 0, 0}; !slices.EqualFunc(a.Contributions, want, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 }) || codes(a) != "AMOUNT" {
		t.Errorf("%v, %s", a.Contributions, codes(a))
	}
}

// TestClassOfAttributions: which raw score is the policy's class.
func TestClassOfAttributions(t *testing.T) {
	open := func(add func(b *onnx.Builder)) *explained {
		m, err := onnx.ReadFile(writeModel(t, add), onnx.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		x, err := attribution.Open(m)
		return &explained{explainer: x, err: err}
	}
	one, two, three := open(linear(1, 1, 1)), open(linear(1, 1, 1, 1, 1, 1)), open(linear(1, 1, 1, 1, 1, 1, 1, 1, 1))
	for _, c := range []struct {
		x            *explained
		width, class int
		want         string
	}{
		{one, 1, 0, "0 of 1"}, {one, 2, 1, "0 of 1"}, {one, 2, 0, "0 of -1"}, {two, 2, 0, "0 of 1"}, {two, 2, 1, "1 of 1"}, {three, 3, 2, "2 of 1"},
		{one, -1, 1, "unknown"}, {one, 3, 1, "unknown"}, {two, 1, 0, "unknown"}, {three, 2, 1, "unknown"},
	} {
		a := newAttributor(&binding{class: c.class, width: c.width, inputs: []boundInput{{datatype: tensor.FP32, features: []int{0, 1, 2}}}}, c.x)
		got := fmt.Sprintf("%d of %v", a.output, a.sign)
		if a.why != nil && strings.Contains(a.why.Error(), "is not known") {
			got = "unknown"
		}
		if got != c.want {
			t.Errorf("%d scores, class %d of %d: %s, %v, want %s", c.x.explainer.Outputs(), c.class, c.width, got, a.why, c.want)
		}
	}
	for _, in := range [][]boundInput{
		{{datatype: tensor.FP64, features: []int{0, 1, 2}}}, {{datatype: tensor.FP32, features: []int{0, 1}}}, {{datatype: tensor.FP32, features: []int{0}}, {datatype: tensor.FP32, features: []int{1}}},
	} {
		if a := newAttributor(&binding{width: 1, inputs: in}, one); a.why == nil {
			t.Errorf("inputs %+v are explained", in)
		}
	}
}

// TestModelsWithoutAttributions serve, with a warning in the log for each version.
func TestModelsWithoutAttributions(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.close()
	var log bytes.Buffer
	b.logger = slog.New(slog.NewTextHandler(&log, nil))
	b.open()
	for name, file := range map[string]string{
		"the model is made of functions": "",
		"it has operator Relu": writeModel(t, func(b *onnx.Builder) {
			b.Node("Relu", []string{"input"}, []string{"scores"})
		}),
		"no such file":       filepath.Join(t.TempDir(), "none.onnx"),
		"corrupt ONNX model": "attribution_test.go",
	} {
		v := constant(0.75)
		v.file = file
		b.models.set("fraud", b.models.models["fraud"].current+1, v)
		b.bind("attributed")
		a := b.must("attributed", "", facts{"customer_id": 1, "amount": 700.0})
		if !strings.Contains(a.Unattributed, name) || a.Degraded || a.Contributions != nil || codes(a) != "LARGE" || a.Decision != "block" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if err := b.front.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 4 || !strings.Contains(log.String(), "model=fraud version=3") {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}

// TestAttributionsInABudget: they are left out when the answer would be late.
func TestAttributionsInABudget(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	v, spent := stumpVersion(t, 2, 1), time.Duration(0)
	var q *Request
	score := v.run
	v.run = func(ctx context.Context, numbers []float64, texts []string) (float64, error) {
		if q != nil {
			q.started = q.started.Add(-spent) // as if the model had taken so long
		}
		return score(ctx, numbers, texts)
	}
	b.models.set("fraud", 1, v)
	b.bind("hurried")
	decide := func(ctx context.Context, taken time.Duration) Answer {
		var err error
		if q, err = b.front.NewRequest("hurried"); err != nil {
			t.Fatal(err)
		}
		defer q.Release()
		q.Explain, spent = true, taken
		if err := setFacts(q, "", facts{"customer_id": 1, "amount": 150.0}); err != nil {
			t.Fatal(err)
		}
		a, err := b.front.Decide(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		got := *a
		got.Reasons = slices.Clone(a.Reasons)
		return got
	}
	if a := decide(t.Context(), 0); codes(a) != "AMOUNT" || a.Degraded {
		t.Errorf("in time: %+v", a)
	}
	if a := decide(t.Context(), 31*time.Second); a.Contributions != nil || !a.Degraded || a.DegradedReason != "attributions: too little time was left" ||
		a.Unattributed != "too little time was left" || a.Decision != "block" || a.Fallback != "" {
		t.Errorf("late: %+v", a)
	}
	by := b.explainable("hurried")
	by.cost.Store(int64(40 * time.Second))
	if a := decide(t.Context(), 0); a.Contributions != nil || !a.Degraded {
		t.Errorf("with a row that takes long: %+v", a)
	}
	for range 100 { // what was slow once is tried again in time
		decide(t.Context(), 0)
	}
	if a := decide(t.Context(), 0); a.Contributions == nil {
		t.Errorf("after a row that took long: %+v, %v", a, time.Duration(by.cost.Load()))
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if a := decide(soon, 0); a.Contributions != nil || !a.Degraded {
		t.Errorf("with a client in haste: %+v", a)
	}
	if s := b.front.Stats().Decisions; s[slices.IndexFunc(s, func(d DecisionStats) bool { return d.Decision == "hurried" })].Unattributed < 2 {
		t.Errorf("they are not counted: %+v", s)
	}
}

// TestAttributionsAreRepeated with the answer that they were of.
func TestAttributionsAreRepeated(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	b.bind("attributed")
	first := b.must("attributed", "key", facts{"customer_id": 1, "amount": 150.0})
	b.must("attributed", "", facts{"customer_id": 1, "amount": 50.0}) // in the same memory
	again := b.must("attributed", "key", facts{"customer_id": 1, "amount": 150.0})
	if !again.Repeated || codes(again) != "AMOUNT" || !slices.Equal(again.Contributions, []float64{2, -1, 0}) || again.Base != first.Base {
		t.Errorf("%+v", again)
	}
	b.reopen()
	if a := b.must("attributed", "key", facts{"customer_id": 1, "amount": 150.0}); !a.Repeated || codes(a) != "AMOUNT" {
		t.Errorf("after a restart: %+v", a)
	}
}

// TestAttributionsOfThePreviousVersion are its own, and those of no model none.
func TestAttributionsOfThePreviousVersion(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	bad := failing(fmt.Errorf("broken"))
	bad.file = writeModel(t, stump(7, 7))
	b.models.set("fraud", 2, bad)
	request := facts{"customer_id": 1, "amount": 150.0}
	b.must("attributed", "", request)
	for state := &b.front.decisions["attributed"].arms[0]; state.previous.Load().attributor.Load() == nil; {
		runtime.Gosched()
	}
	if a := b.must("attributed", "", request); a.ModelVersion != 1 || a.Contributions[0] != 2 || codes(a) != "AMOUNT" || a.Unattributed != "" {
		t.Errorf("%+v", a)
	}
	delete(b.models.models["fraud"].versions, 1)
	if a := b.must("attributed", "", request); a.Fallback != "default" || a.Contributions != nil || a.Unattributed != "" || len(a.Reasons) > 0 {
		t.Errorf("without a score: %+v", a)
	}
}

// TestSwapsWhileExplaining: attributions are of the version that gave the score, whatever
// is swapped meanwhile.
func TestSwapsWhileExplaining(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	const versions = 8
	all := make([]*fakeVersion, versions+1)
	for i := 1; i <= versions; i++ {
		all[i] = stumpVersion(t, float32(i), 0.5)
	}
	b.models.set("fraud", 1, all[1])
	b.bind("attributed")
	var working sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 3 {
		working.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a, err := b.decide("attributed", "", facts{"customer_id": worker, "amount": 150.0})
				switch {
				case err != nil:
					t.Error(err)
				case a.Contributions == nil:
					if a.Unattributed != errNotOpened.Error() {
						t.Errorf("version %d: %+v", a.ModelVersion, a)
					}
				case a.Contributions[0] != float64(a.ModelVersion):
					t.Errorf("version %d has %v", a.ModelVersion, a.Contributions)
				}
			}
		})
	}
	for round := range 4 {
		for i := 1; i <= versions; i++ {
			b.models.set("fraud", int64(i), all[i])
			if round%2 == 0 {
				b.bind("attributed")
			}
		}
	}
	close(stop)
	working.Wait()
	// What no binding has is forgotten.
	if err := b.front.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	alive := 0
	for _, p := range b.front.explainers.opened {
		if p.Value() != nil {
			alive++
		}
	}
	if alive > 2 {
		t.Errorf("%d explainers of %d versions are kept", alive, versions)
	}
}

// TestExplainersAreShared by the decisions that use a version, and ready after CheckModels.
func TestExplainersAreShared(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	if err := b.front.CheckModels(); err == nil { // without the model of classes
		t.Error("the model of classes is there")
	}
	if one, other := b.explainable("attributed"), b.explainable("hurried"); one.explained != other.explained || one.explainer == nil {
		t.Errorf("%p and %p", one.explained, other.explained)
	}
	if a := b.must("attributed", "", facts{"customer_id": 1, "amount": 150.0}); a.Degraded || a.Contributions == nil {
		t.Errorf("the first answer: %+v", a)
	}
}

// TestAttributionAllocates nothing, asked for or not.
func TestAttributionAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBenchOf(t, attributedPolicies)
	b.undisturbed()
	b.models.set("fraud", 1, stumpVersion(t, 2, 1))
	b.bind("attributed")
	q, err := b.front.NewRequest("attributed")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	if err := setFacts(q, "", facts{"customer_id": 1, "amount": 150.0}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.front.Decide(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, q.Explain = range []bool{false, true} {
		if n := testing.AllocsPerRun(200, func() { q.attribute(ctx) }); n != 0 {
			t.Errorf("explain %t: %v allocations", q.Explain, n)
		}
	}
}

// TestAttributionsOfNamedInputs: a model that has an input for each feature, with texts and
// categories that become codes.
func TestAttributionsOfNamedInputs(t *testing.T) {
	b := newBenchOf(t, attributedPolicies)
	v := &fakeVersion{
		inputs:  []Tensor{{Name: "payments", Datatype: tensor.FP32, Width: 1}, {Name: "country", Datatype: tensor.Bytes, Width: 1}},
		outputs: []Tensor{{Name: "score", Datatype: tensor.FP32, Width: 1}},
		run:     func(context.Context, []float64, []string) (float64, error) { return 0.75, nil },
	}
	graph := func(number string, codes ...onnx.Attribute) string {
		b := onnx.NewBuilder("scores")
		b.Opset("ai.onnx.ml", 3)
		b.Input("payments", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
		b.Input("country", tensor.Bytes, onnx.Symbol("rows"), onnx.Extent(1))
		b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Unknown())
		b.DomainNode("ai.onnx.ml", "LabelEncoder", []string{"country"}, []string{"code"}, codes...)
		b.DomainNode("ai.onnx.ml", "LabelEncoder", []string{"payments"}, []string{"count"}, onnx.FloatsAttribute("keys_floats", 0), onnx.FloatsAttribute("values_floats", 9))
		b.Node("Concat", []string{"code", number}, []string{"features"}, onnx.IntAttribute("axis", 1)) // in another order than the inputs
		b.Initializer(onnx.TensorOf("w", []float32{10, 1}, 2, 1))
		b.Node("MatMul", []string{"features", "w"}, []string{"scores"})
		data, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "model.onnx")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	known := []onnx.Attribute{onnx.StringsAttribute("keys_strings", "NL", "none"), onnx.FloatsAttribute("values_floats", 1, 2), onnx.FloatAttribute("default_float", 5)}
	unknown := []onnx.Attribute{onnx.StringsAttribute("keys_strings", "NL"), onnx.FloatsAttribute("values_floats", 1), onnx.FloatAttribute("default_float", 5)}
	for number, c := range []struct {
		file string
		want []float64 // of payments, country
	}{
		{graph("payments", known...), []float64{0, 20}}, {graph("count", unknown...), []float64{9, 50}},
		{graph("payments", onnx.StringsAttribute("keys_strings", "NL"), onnx.IntsAttribute("values_int64s", 1)), nil},
	} {
		version := *v
		version.inputs, version.file = slices.Clone(v.inputs), c.file
		b.models.set("texts", int64(number+1), &version)
		b.must("named", "", facts{"customer_id": 1})
		b.explainable("named")
		a := b.must("named", "", facts{"customer_id": 1})
		if !slices.Equal(a.Contributions, c.want) || a.Degraded || (a.Unattributed == "") != (c.want != nil) {
			t.Errorf("model %d: %v, want %v: %+v", number, a.Contributions, c.want, a)
		}
		if c.want != nil && codes(a) != "PLACE" && codes(a) != "PLACE,PAYMENTS" {
			t.Errorf("model %d: %s", number, codes(a))
		}
	}
}
