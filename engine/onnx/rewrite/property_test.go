// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// TestRandomGraphsKeepTheirAnswers builds graphs over the patterns that rewrites look
// for, and compares the graph given with the standard rewrite, and with the internal
// one after its operators are expanded as their contract says.
func TestRandomGraphsKeepTheirAnswers(t *testing.T) {
	onnxrttest.Runtime(t)
	seeds := uint64(40)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { checkRandom(t, seed) })
	}
}

func checkRandom(t *testing.T, seed uint64) {
	given, err := randomModel(seed).Model()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	x, ids := make([]float32, 5*6), make([]int64, 5*3)
	for i := range x {
		x[i] = float32(2 * random.NormFloat64())
	}
	for i := range ids {
		ids[i] = random.Int64N(20) - 10
	}
	inputs := []tensor.Tensor{input(x, 5, 6), input(ids, 5, 3)}
	want := run(t, given, inputs...)
	for _, o := range []rewrite.Options{
		{Standard: true},
		{Standard: true, Evaluate: evaluator(t, given)},
		{Evaluate: evaluator(t, given)},
		{Fusions: rewrite.None},
	} {
		result, report := applyModel(t, given, o)
		compare(t, want, run(t, expand(t, result), inputs...))
		if t.Failed() {
			t.Fatalf("seed %d, standard %v, folding %v:\ngiven     %v\nrewritten %v\nreport %+v",
				seed, o.Standard, o.Evaluate != nil, ops(given), ops(result), report)
		}
	}
}

// TestRewrittenGraphsAreNoLonger counts nodes over many random graphs.
func TestRewrittenGraphsAreNoLonger(t *testing.T) {
	before, after := 0, 0
	for seed := range uint64(200) {
		given, err := randomModel(seed).Model()
		if err != nil {
			t.Fatal(err)
		}
		result, report := applyModel(t, given, rewrite.Options{Standard: true})
		if report.NodesAfter > report.NodesBefore || !standardOnly(result) {
			t.Errorf("seed %d: %v becomes %v", seed, ops(given), ops(result))
		}
		before, after = before+report.NodesBefore, after+report.NodesAfter
	}
	if after > before*3/4 {
		t.Errorf("%d nodes become %d, want at most three quarters", before, after)
	}
}

func standardOnly(m *onnx.Model) bool {
	for _, n := range m.Graph.Nodes {
		if n.Domain == rewrite.Domain {
			return false
		}
	}
	return true
}
