// SPDX-License-Identifier: Apache-2.0

package text

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// build makes the operator of a node with one input.
func build(operator string, attributes ...onnx.Attribute) (op.Operator, error) {
	n := &op.Node{Node: &onnx.Node{OpType: operator, Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: attributes}, Version: 18}
	for _, d := range Operators() {
		if d.Name == operator {
			o, err := d.Build(n)
			return o, errors.Join(err, n.Err())
		}
	}
	return nil, errors.New("no such operator")
}

// bind makes the function of a run, with an output that it writes.
func bind(t *testing.T, o op.Operator, in *op.Value) (op.Run, *op.Value) {
	t.Helper()
	out := &op.Value{}
	if err := o.Infer([]*op.Value{in}, []*op.Value{out}); err != nil {
		t.Fatal(err)
	}
	out.Allocate()
	run, err := o.Bind([]*op.Value{in}, []*op.Value{out}, &op.Scratch{})
	if err != nil {
		t.Fatal(err)
	}
	return run, out
}

func texts(shape tensor.Shape, list ...string) *op.Value {
	v := &op.Value{Type: tensor.Bytes, Shape: shape}
	for _, s := range list {
		v.Strings = append(v.Strings, []byte(s))
	}
	return v
}

func TestNormalizer(t *testing.T) {
	in := []string{"Straße", "ÅNGSTRÖM", "", "a1B2", "\xffBad\xc3", "日本"}
	for _, c := range []struct {
		action string
		want   []string
	}{
		{"LOWER", []string{"straße", "ångström", "", "a1b2", "\xffbad\xc3", "日本"}},
		{"UPPER", []string{"STRAßE", "ÅNGSTRÖM", "", "A1B2", "\xffBAD\xc3", "日本"}},
		{"NONE", in},
	} {
		o, err := build("StringNormalizer", onnx.StringAttribute("case_change_action", c.action))
		if err != nil {
			t.Fatal(err)
		}
		run, out := bind(t, o, texts(tensor.Shape{int64(len(in))}, in...))
		for range 2 {
			if err := run(); err != nil {
				t.Fatal(err)
			}
			for i, want := range c.want {
				if got := string(out.Strings[i]); got != want {
					t.Errorf("%s of %q is %q, want %q", c.action, in[i], got, want)
				}
			}
		}
		if n := testing.AllocsPerRun(10, func() { _ = run() }); n != 0 {
			t.Errorf("%s: %g allocations a run", c.action, n)
		}
	}
}

// grams is a pool made up at random, of numbers below 5.
type grams struct {
	shortest, longest, skips int
	mode                     string
	pool                     [][]int64 // by length, in that order
	columns                  []int64
	weights                  []float32
}

func randomGrams(r *rand.Rand) *grams {
	g := &grams{longest: 1 + r.IntN(3), skips: r.IntN(3), mode: []string{"TF", "IDF", "TFIDF"}[r.IntN(3)]}
	g.shortest = 1 + r.IntN(g.longest)
	for size := 1; size <= g.longest; size++ {
		seen := make(map[string]bool)
		for range 1 + r.IntN(8) {
			gram := make([]int64, size)
			for i := range gram {
				gram[i] = r.Int64N(5)
			}
			if key := fmt.Sprint(gram); !seen[key] {
				seen[key] = true
				g.pool = append(g.pool, gram)
			}
		}
	}
	for i := range g.pool {
		g.columns = append(g.columns, int64(i))
		g.weights = append(g.weights, 0.5+float32(i))
	}
	if r.IntN(2) == 0 {
		g.weights = nil
		r.Shuffle(len(g.columns), func(i, j int) { g.columns[i], g.columns[j] = g.columns[j], g.columns[i] })
	}
	return g
}

// attributes are those of the node, with items as numbers or as texts.
func (g *grams) attributes(asTexts bool) []onnx.Attribute {
	var flat, starts []int64
	for size := 1; size <= g.longest; size++ {
		starts = append(starts, int64(len(flat)))
		for _, gram := range g.pool {
			if len(gram) == size {
				flat = append(flat, gram...)
			}
		}
	}
	list := []onnx.Attribute{
		onnx.IntAttribute("min_gram_length", int64(g.shortest)), onnx.IntAttribute("max_gram_length", int64(g.longest)),
		onnx.IntAttribute("max_skip_count", int64(g.skips)), onnx.StringAttribute("mode", g.mode),
		onnx.IntsAttribute("ngram_counts", starts...), onnx.IntsAttribute("ngram_indexes", g.columns...),
	}
	if g.weights != nil {
		list = append(list, onnx.FloatsAttribute("weights", g.weights...))
	}
	if !asTexts {
		return append(list, onnx.IntsAttribute("pool_int64s", flat...))
	}
	words := make([]string, len(flat))
	for i, item := range flat {
		words[i] = fmt.Sprint("w", item)
	}
	return append(list, onnx.StringsAttribute("pool_strings", words...))
}

// count is what a row gives: every n-gram is looked for at every place and step.
func (g *grams) count(row []int64) []float32 {
	y := make([]float32, len(g.pool))
	for k, gram := range g.pool {
		if len(gram) < g.shortest {
			continue
		}
		n := float32(0)
		for step := 1; step <= g.skips+1 && (step == 1 || len(gram) > 1); step++ {
			for first := range row {
				if last := first + (len(gram)-1)*step; last < len(row) && found(gram, row[first:], step) {
					n++
				}
			}
		}
		if g.mode == "IDF" {
			n = min(n, 1)
		}
		if g.weights != nil && g.mode != "TF" {
			n *= g.weights[k]
		}
		y[g.columns[k]] = n
	}
	return y
}

func found(gram, row []int64, step int) bool {
	for i, item := range gram {
		if row[i*step] != item {
			return false
		}
	}
	return true
}

func TestVectorizer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		g := randomGrams(r)
		rows, cols := 1+r.IntN(3), r.IntN(9)
		items := make([]int64, rows*cols)
		words := make([]string, len(items))
		var want []float32
		for k := range items {
			items[k] = r.Int64N(6)
			words[k] = fmt.Sprint("w", items[k])
		}
		for k := range rows {
			want = append(want, g.count(items[k*cols:(k+1)*cols])...)
		}
		shape := tensor.Shape{int64(rows), int64(cols)}
		numbers, narrow := &op.Value{Type: tensor.Int64, Shape: shape}, &op.Value{Type: tensor.Int32, Shape: shape}
		numbers.Allocate()
		narrow.Allocate()
		for k, item := range items {
			op.As[int64](numbers)[k], op.As[int32](narrow)[k] = item, int32(item)
		}
		for _, in := range []*op.Value{numbers, narrow, texts(shape, words...)} {
			o, err := build("TfIdfVectorizer", g.attributes(in.Type == tensor.Bytes)...)
			if err != nil {
				t.Fatal(err)
			}
			run, out := bind(t, o, in)
			for range 2 {
				if err := run(); err != nil {
					t.Fatal(err)
				}
			}
			if got := op.Floats(out); !slices.Equal(got, want) {
				t.Fatalf("case %d, %+v, %v: %v, want %v", i, *g, items, got, want)
			}
			if n := testing.AllocsPerRun(5, func() { _ = run() }); n != 0 {
				t.Fatalf("case %d, %s: %g allocations a run", i, in.Type, n)
			}
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	grams := func(change ...onnx.Attribute) []onnx.Attribute {
		list := []onnx.Attribute{
			onnx.IntAttribute("min_gram_length", 1), onnx.IntAttribute("max_gram_length", 2), onnx.IntAttribute("max_skip_count", 0),
			onnx.StringAttribute("mode", "TF"), onnx.IntsAttribute("ngram_counts", 0, 2), onnx.IntsAttribute("ngram_indexes", 0, 1, 2),
			onnx.IntsAttribute("pool_int64s", 1, 2, 3, 4),
		}
		for _, a := range change {
			list = slices.DeleteFunc(list, func(b onnx.Attribute) bool { return b.Name == a.Name })
			list = append(list, a)
		}
		return list
	}
	for _, c := range []struct {
		want, operator string
		attributes     []onnx.Attribute
	}{
		{"stop words", "StringNormalizer", []onnx.Attribute{onnx.StringsAttribute("stopwords", "the")}},
		{`"TITLE"`, "StringNormalizer", []onnx.Attribute{onnx.StringAttribute("case_change_action", "TITLE")}},
		{"mode", "TfIdfVectorizer", grams(onnx.StringAttribute("mode", "BM25"))},
		{"n-grams of 3 to 2", "TfIdfVectorizer", grams(onnx.IntAttribute("min_gram_length", 3))},
		{"n-grams of 1 to 9223372036854775807", "TfIdfVectorizer", grams(onnx.IntAttribute("max_gram_length", 1<<63-1))},
		{"column 1099511627776", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_indexes", 0, 1<<40, 2))},
		{"column -1", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_indexes", 0, -1, 2))},
		{"2 columns", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_indexes", 0, 1))},
		{"2 items at 1 to 4", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_counts", 0, 1))},
		{"1 items at 0 to 9", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_counts", 0, 9))},
		{"ngram_counts has 1", "TfIdfVectorizer", grams(onnx.IntsAttribute("ngram_counts", 0))},
		{"n-gram 1 is there twice", "TfIdfVectorizer", grams(onnx.IntsAttribute("pool_int64s", 1, 1, 3, 4))},
		{"exactly one of", "TfIdfVectorizer", grams(onnx.StringsAttribute("pool_strings", "a"))},
		{"2 weights for 3", "TfIdfVectorizer", grams(onnx.StringAttribute("mode", "IDF"), onnx.FloatsAttribute("weights", 1, 2))},
		{"not in the order", "TfIdfVectorizer", grams(onnx.StringAttribute("mode", "IDF"), onnx.FloatsAttribute("weights", 1, 2, 3), onnx.IntsAttribute("ngram_indexes", 1, 0, 2))},
	} {
		_, err := build(c.operator, c.attributes...)
		if !errors.Is(err, op.ErrInvalid) && !errors.Is(err, op.ErrNotCovered) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.want, err)
		}
	}
}
