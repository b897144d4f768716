// SPDX-License-Identifier: Apache-2.0

package neon

import (
	"fmt"
	"strings"
	"testing"
)

// encodings are as GNU's assembler has them, for registers 17, 30 and 9.
var encodings = []struct {
	op   Op
	want string
}{
	{FADD, "WORD $0x4e29d7d1 // fadd v17.4s, v30.4s, v9.4s"},
	{FSUB, "WORD $0x4ea9d7d1 // fsub v17.4s, v30.4s, v9.4s"},
	{FMUL, "WORD $0x6e29dfd1 // fmul v17.4s, v30.4s, v9.4s"},
	{FDIV, "WORD $0x6e29ffd1 // fdiv v17.4s, v30.4s, v9.4s"},
	{FMAX, "WORD $0x4e29f7d1 // fmax v17.4s, v30.4s, v9.4s"},
	{FMIN, "WORD $0x4ea9f7d1 // fmin v17.4s, v30.4s, v9.4s"},
	{FCMEQ, "WORD $0x4e29e7d1 // fcmeq v17.4s, v30.4s, v9.4s"},
	{FCMGE, "WORD $0x6e29e7d1 // fcmge v17.4s, v30.4s, v9.4s"},
	{FCMGT, "WORD $0x6ea9e7d1 // fcmgt v17.4s, v30.4s, v9.4s"},
	{FMLA, "VFMLA V9.S4, V30.S4, V17.S4"},
	{FMLS, "VFMLS V9.S4, V30.S4, V17.S4"},
	{AND, "VAND V9.B16, V30.B16, V17.B16"},
	{ORR, "VORR V9.B16, V30.B16, V17.B16"},
	{EOR, "VEOR V9.B16, V30.B16, V17.B16"},
	{BIC, "WORD $0x4e691fd1 // bic v17.16b, v30.16b, v9.16b"},
	{BSL, "VBSL V9.B16, V30.B16, V17.B16"},
	{BIT, "VBIT V9.B16, V30.B16, V17.B16"},
	{BIF, "VBIF V9.B16, V30.B16, V17.B16"},
	{ADD, "VADD V9.S4, V30.S4, V17.S4"},
	{SUB, "VSUB V9.S4, V30.S4, V17.S4"},
	{MUL, "WORD $0x4ea99fd1 // mul v17.4s, v30.4s, v9.4s"},
	{MLS, "WORD $0x6ea997d1 // mls v17.4s, v30.4s, v9.4s"},
	{MLA, "WORD $0x4ea997d1 // mla v17.4s, v30.4s, v9.4s"},
	{SUB2D, "VSUB V9.D2, V30.D2, V17.D2"},
	{FCMGT2D, "WORD $0x6ee9e7d1 // fcmgt v17.2d, v30.2d, v9.2d"},
	{ZIP1H, "VZIP1 V9.H8, V30.H8, V17.H8"},
	{ZIP2H, "VZIP2 V9.H8, V30.H8, V17.H8"},
	{UZP2H, "VUZP2 V9.H8, V30.H8, V17.H8"},
	{CMEQ, "VCMEQ V9.S4, V30.S4, V17.S4"},
	{CMGT, "WORD $0x4ea937d1 // cmgt v17.4s, v30.4s, v9.4s"},
	{CMHI2D, "WORD $0x6ee937d1 // cmhi v17.2d, v30.2d, v9.2d"},
	{ADDP, "VADDP V9.S4, V30.S4, V17.S4"},
	{ADD8H, "VADD V9.H8, V30.H8, V17.H8"},
	{SUB8H, "VSUB V9.H8, V30.H8, V17.H8"},
	{FMAXNM, "WORD $0x4e29c7d1 // fmaxnm v17.4s, v30.4s, v9.4s"},
	{FSQRT, "WORD $0x6ea1fbd1 // fsqrt v17.4s, v30.4s"},
	{FABS, "WORD $0x4ea0fbd1 // fabs v17.4s, v30.4s"},
	{FNEG, "WORD $0x6ea0fbd1 // fneg v17.4s, v30.4s"},
	{FRINTN, "WORD $0x4e218bd1 // frintn v17.4s, v30.4s"},
	{FRINTM, "WORD $0x4e219bd1 // frintm v17.4s, v30.4s"},
	{FRINTP, "WORD $0x4ea18bd1 // frintp v17.4s, v30.4s"},
	{FCVTNS, "WORD $0x4e21abd1 // fcvtns v17.4s, v30.4s"},
	{FCVTZS, "WORD $0x4ea1bbd1 // fcvtzs v17.4s, v30.4s"},
	{SCVTF, "WORD $0x4e21dbd1 // scvtf v17.4s, v30.4s"},
	{FCVTZS2D, "WORD $0x4ee1bbd1 // fcvtzs v17.2d, v30.2d"},
	{MVN, "WORD $0x6e205bd1 // mvn v17.16b, v30.16b"},
	{FCVTL, "WORD $0x0e617bd1 // fcvtl v17.2d, v30.2s"},
	{FCVTLUpper, "WORD $0x4e617bd1 // fcvtl2 v17.2d, v30.4s"},
	{FCVTN, "WORD $0x0e616bd1 // fcvtn v17.2s, v30.2d"},
	{FCVTNUpper, "WORD $0x4e616bd1 // fcvtn2 v17.4s, v30.2d"},
	{FCVTLH, "WORD $0x0e217bd1 // fcvtl v17.4s, v30.4h"},
	{FCVTLHUpper, "WORD $0x4e217bd1 // fcvtl2 v17.4s, v30.8h"},
	{FCVTNH, "WORD $0x0e216bd1 // fcvtn v17.4h, v30.4s"},
	{FCVTNHUpper, "WORD $0x4e216bd1 // fcvtn2 v17.8h, v30.4s"},
	{XTN2S, "WORD $0x0ea12bd1 // xtn v17.2s, v30.2d"},
	{XTN4S, "WORD $0x4ea12bd1 // xtn2 v17.4s, v30.2d"},
	{XTN4H, "WORD $0x0e612bd1 // xtn v17.4h, v30.4s"},
	{XTN8H, "WORD $0x4e612bd1 // xtn2 v17.8h, v30.4s"},
	{XTN8B, "WORD $0x0e212bd1 // xtn v17.8b, v30.8h"},
	{SQXTUN8B, "WORD $0x2e212bd1 // sqxtun v17.8b, v30.8h"},
	{SQXTUN16B, "WORD $0x6e212bd1 // sqxtun2 v17.16b, v30.8h"},
	{SXTL8H, "WORD $0x0f08a7d1 // sxtl v17.8h, v30.8b"},
	{SXTL4S, "WORD $0x0f10a7d1 // sxtl v17.4s, v30.4h"},
	{SXTL4SUpper, "WORD $0x4f10a7d1 // sxtl2 v17.4s, v30.8h"},
	{SXTL2D, "WORD $0x0f20a7d1 // sxtl v17.2d, v30.2s"},
	{SXTL2DUpper, "WORD $0x4f20a7d1 // sxtl2 v17.2d, v30.4s"},
	{UXTL8H, "WORD $0x2f08a7d1 // uxtl v17.8h, v30.8b"},
	{UXTL8HUpper, "WORD $0x6f08a7d1 // uxtl2 v17.8h, v30.16b"},
	{UXTL4S, "WORD $0x2f10a7d1 // uxtl v17.4s, v30.4h"},
	{UXTL4SUpper, "WORD $0x6f10a7d1 // uxtl2 v17.4s, v30.8h"},
	{SADALP, "WORD $0x4e606bd1 // sadalp v17.4s, v30.8h"},
	{SADDLPB, "WORD $0x4e202bd1 // saddlp v17.8h, v30.16b"},
	{SMULL, "WORD $0x0e29c3d1 // smull v17.8h, v30.8b, v9.8b"},
	{SMULL2, "WORD $0x4e29c3d1 // smull2 v17.8h, v30.16b, v9.16b"},
	{ZIP1D, "VZIP1 V9.D2, V30.D2, V17.D2"},
	{ZIP2D, "VZIP2 V9.D2, V30.D2, V17.D2"},
	{TRN1, "VTRN1 V9.S4, V30.S4, V17.S4"},
	{TRN2, "VTRN2 V9.S4, V30.S4, V17.S4"},
	{FADDP, "WORD $0x6e29d7d1 // faddp v17.4s, v30.4s, v9.4s"},
	{FMAXP, "WORD $0x6e29f7d1 // fmaxp v17.4s, v30.4s, v9.4s"},
	{ADDV, "WORD $0x4eb1bbd1 // addv s17, v30.4s"},
}

// written is the last instruction of a function with its registers numbered as given.
func written(f *Func, numbers ...int) string {
	return f.code[len(f.code)-1].text(func(r register) int { return numbers[r] })
}

func TestOperations(t *testing.T) {
	for _, c := range encodings {
		f := &Func{}
		v := f.Vecs(3)
		f.Do(c.op, v[0], v[1:len(strings.Fields(c.op.lanes))]...)
		if got := written(f, 17, 30, 9); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		emit func(f *Func, d, a, b Vec)
		want string
	}{
		{func(f *Func, d, a, b Vec) { f.AddLane(d, a, b, 0) }, "0x4f8913d1 // fmla v17.4s, v30.4s, v9.s[0]"},
		{func(f *Func, d, a, b Vec) { f.AddLane(d, a, b, 1) }, "0x4fa913d1 // fmla v17.4s, v30.4s, v9.s[1]"},
		{func(f *Func, d, a, b Vec) { f.AddLane(d, a, b, 2) }, "0x4f891bd1 // fmla v17.4s, v30.4s, v9.s[2]"},
		{func(f *Func, d, a, b Vec) { f.AddLane(d, a, b, 3) }, "0x4fa91bd1 // fmla v17.4s, v30.4s, v9.s[3]"},
		{func(f *Func, d, a, _ Vec) { f.ShiftLeft(d, a, 32, 23) }, "0x4f3757d1 // shl v17.4s, v30.4s, #23"},
		{func(f *Func, d, a, _ Vec) { f.ShiftLeft(d, a, 64, 63) }, "0x4f7f57d1 // shl v17.2d, v30.2d, #63"},
		{func(f *Func, d, a, _ Vec) { f.ShiftRight(d, a, 32, 16) }, "0x6f3007d1 // ushr v17.4s, v30.4s, #16"},
		{func(f *Func, d, a, _ Vec) { f.ShiftRightSigned(d, a, 32, 31) }, "0x4f2107d1 // sshr v17.4s, v30.4s, #31"},
		{func(f *Func, d, a, _ Vec) { f.ShiftRightSigned(d, a, 16, 1) }, "0x4f1f07d1 // sshr v17.8h, v30.8h, #1"},
	} {
		f := &Func{}
		v := f.Vecs(3)
		c.emit(f, v[0], v[1], v[2])
		if got := written(f, 17, 30, 9); got != "WORD $"+c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestLayout(t *testing.T) {
	f := &Func{args: map[string]int{}}
	_, size := f.layout("func(dst, src []float32, n int, low float32, nan bool) (count int, next bool)")
	want := map[string]int{
		"dst_base": 0, "dst_len": 8, "src_base": 24, "src_len": 32, "n": 48, "low": 56, "nan": 60, "count": 64, "next": 72,
	}
	if size != 73 || fmt.Sprint(f.args) != fmt.Sprint(want) {
		t.Errorf("%d bytes, %v, want 73, %v", size, f.args, want)
	}
	if _, size := f.layout("func(a float32)"); size != 4 {
		t.Errorf("%d bytes of arguments without a result, want 4", size)
	}
}

// TestRegisters has a value live around a loop that others come and go in.
func TestRegisters(t *testing.T) {
	f := &Func{args: map[string]int{"n": 0}}
	n, sum := f.Arg("n"), f.Vec()
	f.Zero(sum)
	f.Label("loop")
	first, second := f.Vec(), f.Vec()
	f.Load(first, n, 0)
	f.Load(second, n, 16)
	f.Do(FADD, first, first, second)
	third := f.Vec()
	f.Load(third, n, 32)
	f.Do(FADD, first, first, third)
	f.Do(FADD, sum, sum, first)
	f.GenImm("SUBS", n, n, 1)
	f.Branch("NE", "loop")
	f.Store(sum, n, 0)
	f.Return()
	numbers := f.assign("f")
	got := []int{numbers[sum.r], numbers[first.r], numbers[second.r], numbers[third.r]}
	if fmt.Sprint(got) != "[0 1 2 2]" {
		t.Errorf("numbers %v, want [0 1 2 2]", got)
	}
}

// refusal is what assign panics with.
func refusal(f *Func) (message any) {
	defer func() { message = recover() }()
	f.assign("f")
	return nil
}

func TestRefusals(t *testing.T) {
	many := &Func{args: map[string]int{"p": 0}}
	p, sum, v := many.Arg("p"), many.Vec(), many.Vecs(32)
	many.Zero(sum)
	for _, x := range v {
		many.Load(x, p, 0)
	}
	for _, x := range v {
		many.Do(FADD, sum, sum, x)
	}
	many.Store(sum, p, 0)
	unset := &Func{args: map[string]int{"p": 0}}
	unset.Store(unset.Vec(), unset.Arg("p"), 0)
	lost := &Func{}
	lost.Jump("nowhere")
	for want, f := range map[string]*Func{
		"f needs more registers of kind V than there are": many,
		"f reads register 0 before it is written":         unset,
		"f has no label nowhere":                          lost,
	} {
		if got := fmt.Sprint(refusal(f)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
