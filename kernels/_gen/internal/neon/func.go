// SPDX-License-Identifier: Apache-2.0

package neon

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
)

// Func is a function being written.
type Func struct {
	file   *File
	code   []instruction
	kinds  []byte // of the registers by number: 'V' or 'R'
	args   map[string]int
	labels int
	table  GP
	tabled bool
}

// instruction is one line of assembly, or a label.
type instruction struct {
	text      func(number func(register) int) string
	use, def  []register
	label, to string // where it is, where it may go
	stops     bool   // never goes on to the next
}

// register is one without a number of the machine.
type register int

// Vec is a vector register.
type Vec struct{ r register }

// GP is a general register.
type GP struct{ r register }

// Func writes a function of the given signature, such as
// "func(dst, src []float32, cols int) int", with body. doc is its comment.
func (f *File) Func(name, signature, doc string, body func(f *Func)) {
	fn := &Func{file: f, args: map[string]int{}}
	params, size := fn.layout(signature)
	body(fn)
	f.stub(name, params, doc)
	fmt.Fprintf(&f.code, "\n// func %s%s\n", name, params)
	fmt.Fprintf(&f.code, "TEXT ·%s(SB), NOSPLIT, $0-%d\n", name, size)
	fn.write(name)
}

func (f *File) stub(name, params, doc string) {
	for line := range strings.Lines("\n" + name + " " + doc) {
		if line = strings.TrimSpace(line); line != "" {
			line = "// " + line
		}
		fmt.Fprintln(&f.stubs, line)
	}
	fmt.Fprintf(&f.stubs, "//\n//go:noescape\nfunc %s%s\n", name, params)
}

// layout finds where arguments and results are, in bytes from the first, and gives the
// signature without its first word.
func (f *Func) layout(signature string) (params string, size int) {
	fset := token.NewFileSet()
	params = strings.TrimPrefix(signature, "func")
	parsed, err := parser.ParseFile(fset, "", "package p\nfunc f"+params, 0)
	if err != nil {
		panic(err)
	}
	pkg, err := new(types.Config).Check("p", fset, []*ast.File{parsed}, nil)
	if err != nil {
		panic(err)
	}
	s := pkg.Scope().Lookup("f").Type().(*types.Signature)
	size = f.place(s.Params(), 0)
	if s.Results().Len() > 0 {
		size = f.place(s.Results(), (size+7)&^7)
	}
	return params, size
}

// place gives each variable its place from offset on, and the end.
func (f *Func) place(list *types.Tuple, offset int) (end int) {
	sizes := types.SizesFor("gc", "arm64")
	for v := range list.Variables() {
		align, size := int(sizes.Alignof(v.Type())), int(sizes.Sizeof(v.Type()))
		offset = (offset + align - 1) &^ (align - 1)
		name := v.Name()
		if name == "" {
			name = "ret"
		}
		if _, ok := v.Type().Underlying().(*types.Slice); ok {
			f.args[name+"_base"], f.args[name+"_len"] = offset, offset+8
		} else {
			f.args[name] = offset
		}
		offset += size
	}
	return offset
}

// arg is the text of an argument or result in memory.
func (f *Func) arg(name string) string {
	offset, ok := f.args[name]
	if !ok {
		panic("no argument " + name)
	}
	return fmt.Sprintf("%s+%d(FP)", name, offset)
}

// Vec is a new vector register.
func (f *Func) Vec() Vec { return Vec{f.register('V')} }

// Vecs are n new vector registers.
func (f *Func) Vecs(n int) []Vec {
	v := make([]Vec, n)
	for i := range v {
		v[i] = f.Vec()
	}
	return v
}

// GP is a new general register.
func (f *Func) GP() GP { return GP{f.register('R')} }

func (f *Func) register(kind byte) register {
	f.kinds = append(f.kinds, kind)
	return register(len(f.kinds) - 1)
}

// Unique is a label that no other call gives.
func (f *Func) Unique(name string) string {
	f.labels++
	return fmt.Sprintf("%s%d", name, f.labels)
}

// write gives registers their numbers and writes the code.
func (f *Func) write(name string) {
	numbers := f.assign(name)
	number := func(r register) int { return numbers[r] }
	for _, i := range f.code {
		if i.label != "" {
			fmt.Fprintf(&f.file.code, "\n%s:\n", i.label)
			continue
		}
		fmt.Fprintf(&f.file.code, "\t%s\n", i.text(number))
	}
}
