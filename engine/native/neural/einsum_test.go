// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// sumSlowly goes through all indices of an equation with an output and no ellipsis.
func sumSlowly(equation string, in []*op.Value, extents map[byte]int) []float64 {
	left, output, _ := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	var letters string
	for _, term := range append([]string{output}, terms...) {
		for i := range len(term) {
			if !strings.Contains(letters, term[i:i+1]) {
				letters += term[i : i+1]
			}
		}
	}
	var all, outputs []int
	for i := range len(letters) {
		all = append(all, extents[letters[i]])
	}
	for i := range len(output) {
		outputs = append(outputs, extents[output[i]])
	}
	y := make([]float64, volume(outputs))
	place := func(term string, at []int) int {
		n := 0
		for i := range len(term) {
			n = n*extents[term[i]] + at[strings.IndexByte(letters, term[i])]
		}
		return n
	}
	each(all, func(at []int) {
		product := 1.0
		for i, term := range terms {
			product *= float64(op.Floats(in[i])[place(term, at)])
		}
		y[place(output, at)] += product
	})
	return y
}

// equations are as models have them, and some that they do not.
var equations = []string{
	"be,bed->bd", "ij,ij->j", "ij,jk->ik", "bij,bjk->bik", "bhid,bhjd->bhij", "bhij,bhjd->bhid", "ij->ji", "ii->i", "ii->",
	"i,j->ij", "ij,kj->ik", "ji,jk->ki", "abc,cd->abd", "abc,ad->bcd", "ij,ij->", "ijk->", "i,i,i->i", "ab,bc,cd->ad",
	"bijk,bk->jib", "ij,j->i", "aab,b->a", "ab,c->c", "bnd,md->mbn",
}

func TestEinsum(t *testing.T) {
	levels(t, 31, func(t *testing.T, r *rand.Rand) {
		for range 4 {
			for _, equation := range equations {
				extents := make(map[byte]int)
				for c := byte('a'); c <= 'z'; c++ {
					extents[c] = 1 + r.IntN(7)
				}
				var in []*op.Value
				left, _, _ := strings.Cut(equation, "->")
				for _, term := range strings.Split(left, ",") {
					var shape []int64
					for i := range len(term) {
						shape = append(shape, int64(extents[term[i]]))
					}
					in = append(in, random(r, false, shape...))
				}
				n := nodeOf("Einsum", 12, in, 1, onnx.StringAttribute("equation", equation))
				near(t, mustRun(t, n, in)[0], sumSlowly(equation, in, extents), 1e-5)
			}
		}
	})
}

// TestEinsumForms holds other ways to write an equation to the plain one.
func TestEinsumForms(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 0))
	a, b := random(r, false, 2, 3, 4, 5), random(r, false, 2, 3, 5, 6)
	one := random(r, false, 1, 3, 5, 6)
	for _, c := range []struct {
		equation, same string
		right          *op.Value
	}{
		{"...ij,...jk->...ik", "abij,abjk->abik", b},
		{"...ij,...jk", "abij,abjk->abik", b},
		{" a b i j , a b j k -> a b i k", "abij,abjk->abik", b},
		{"...j,...jk->...k", "", random(r, false, 5, 6)},
		{"zbij,zbjk", "zbij,zbjk->ik", one},
	} {
		in := []*op.Value{a, c.right}
		got := mustRun(t, nodeOf("Einsum", 12, in, 1, onnx.StringAttribute("equation", c.equation)), in)[0]
		if c.same == "" {
			want := sumSlowly("abij,jk->abik", in, map[byte]int{'a': 2, 'b': 3, 'i': 4, 'j': 5, 'k': 6})
			near(t, got, want, 1e-5)
			continue
		}
		if c.right == one { // is taken for each of the two
			in = []*op.Value{a, {Type: tensor.FP32, Shape: b.Shape, Data: append(append([]byte{}, one.Data...), one.Data...)}}
		}
		near(t, got, sumSlowly(c.same, in, map[byte]int{'a': 2, 'b': 3, 'i': 4, 'j': 5, 'k': 6, 'z': 2}), 1e-5)
	}
}

func TestEinsumTypes(t *testing.T) {
	a := &op.Value{Type: tensor.Int64, Shape: tensor.Shape{2, 2}}
	a.Allocate()
	copy(op.As[int64](a), []int64{1, 2, 3, 4})
	in := []*op.Value{a, a}
	n := nodeOf("Einsum", 12, in, 1, onnx.StringAttribute("equation", "ij,jk->ik"))
	got := op.As[int64](mustRun(t, n, in)[0])
	for i, want := range []int64{7, 10, 15, 22} {
		if got[i] != want {
			t.Fatalf("product is %v", got)
		}
	}
}

func TestEinsumErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a, b := random(r, false, 2, 3), random(r, false, 3, 4)
	for _, equation := range []string{"", "ij", "ij,jk->il", "ij,jk->ii", "ij,jk,kl", "ijk,jk", "ij,kj->ik", "i1,jk", "i..j,jk", "......,jk", "i,jk"} {
		in := []*op.Value{a, b}
		wantError(t, nodeOf("Einsum", 12, in, 1, onnx.StringAttribute("equation", equation)), in, op.ErrInvalid)
	}
}

// FuzzEinsum gives equations of any text to two inputs: none may panic.
func FuzzEinsum(f *testing.F) {
	for _, equation := range equations {
		f.Add(equation)
	}
	f.Add("...a,b...->ab...")
	f.Fuzz(func(t *testing.T, equation string) {
		r := rand.New(rand.NewPCG(1, 1))
		for _, in := range [][]*op.Value{
			{random(r, false, 2, 2), random(r, false, 2, 2)}, {random(r, false, 2, 3, 4)}, {random(r, false, 3, 0, 1), random(r, false, 1)},
		} {
			n := nodeOf("Einsum", 12, in, 1, onnx.StringAttribute("equation", equation))
			if out, err := run(t, n, in); err == nil && out[0].Len() != len(op.Floats(out[0])) {
				t.Fatalf("%d elements of shape %v", len(op.Floats(out[0])), out[0].Shape)
			}
		}
	})
}
