// SPDX-License-Identifier: Apache-2.0

package neon

import "fmt"

// line adds an instruction. In format, %s stands for the registers, of which the first
// defs are written; those that are read as well are repeated in also.
func (f *Func) line(defs int, format string, registers []register, also ...register) {
	f.named("V", defs, format, registers, also...)
}

// scalar is line for instructions that name vector registers as Go names floats.
func (f *Func) scalar(defs int, format string, registers ...register) {
	f.named("F", defs, format, registers)
}

func (f *Func) named(vector string, defs int, format string, registers []register, also ...register) {
	in := instruction{def: registers[:defs], use: append(registers[defs:len(registers):len(registers)], also...)}
	in.text = func(number func(register) int) string {
		names := make([]any, len(registers))
		for i, r := range registers {
			kind := "R"
			if f.kinds[r] == 'V' {
				kind = vector
			}
			names[i] = fmt.Sprint(kind, number(r))
		}
		return fmt.Sprintf(format, names...)
	}
	f.code = append(f.code, in)
}

// word adds an instruction that Go's assembler does not know, with its text.
func (f *Func) word(bits uint32, text string, def, use []register, fields func(number func(register) int) (uint32, []any)) {
	in := instruction{def: def, use: use}
	in.text = func(number func(register) int) string {
		more, names := fields(number)
		return fmt.Sprintf("WORD $%#08x // "+text, append([]any{bits | more}, names...)...)
	}
	f.code = append(f.code, in)
}

// Label marks a place.
func (f *Func) Label(name string) { f.code = append(f.code, instruction{label: name}) }

// Jump goes to a label.
func (f *Func) Jump(to string) {
	f.line(0, "JMP "+to, nil)
	f.code[len(f.code)-1].to, f.code[len(f.code)-1].stops = to, true
}

// Branch goes to a label on a condition that a comparison left: "EQ", "LT", ...
func (f *Func) Branch(condition, to string) {
	f.line(0, "B"+condition+" "+to, nil)
	f.code[len(f.code)-1].to = to
}

// BranchZero goes to a label if x is 0.
func (f *Func) BranchZero(x GP, to string) { f.test("CBZ %s, "+to, x, to) }

// BranchNonzero goes to a label unless x is 0.
func (f *Func) BranchNonzero(x GP, to string) { f.test("CBNZ %s, "+to, x, to) }

// BranchNoBit goes to a label if a bit of x is 0.
func (f *Func) BranchNoBit(x GP, bit int, to string) {
	f.test(fmt.Sprintf("TBZ $%d, %%s, %s", bit, to), x, to)
}

func (f *Func) test(format string, x GP, to string) {
	f.line(0, format, []register{x.r})
	f.code[len(f.code)-1].to = to
}

// Return ends the function.
func (f *Func) Return() {
	f.line(0, "RET", nil)
	f.code[len(f.code)-1].stops = true
}

// Arg is an argument, or the base or the length of one, in a register.
func (f *Func) Arg(name string) GP { return f.ArgAs("MOVD", name) }

// ArgAs is Arg of an argument of another size, by the instruction that loads it.
func (f *Func) ArgAs(load, name string) GP {
	r := f.GP()
	f.line(1, load+" "+f.arg(name)+", %s", []register{r.r})
	return r
}

// ArgLanes is an argument of four bytes in all lanes.
func (f *Func) ArgLanes(name string) Vec {
	v := f.Vec()
	f.DupWord(v, f.ArgAs("MOVWU", name))
	return v
}

// Result stores a result: "ret" if it has no name.
func (f *Func) Result(store, name string, x GP) {
	f.line(0, store+" %s, "+f.arg(name), []register{x.r})
}

// ResultFloat stores the first lane of a vector.
func (f *Func) ResultFloat(name string, x Vec) {
	f.scalar(0, "FMOVS %s, "+f.arg(name), x.r)
}

// Constant is four words from the table in a register.
func (f *Func) Constant(words [4]uint32) Vec {
	v := f.Vec()
	f.LoadConstant(v, words)
	return v
}

// LoadConstant is Constant into a given register.
func (f *Func) LoadConstant(v Vec, words [4]uint32) {
	f.Load(v, f.Table(), f.file.constant(words))
}

// Table is where the constants are. The first call must be where all uses pass.
func (f *Func) Table() GP {
	if !f.tabled {
		f.table, f.tabled = f.GP(), true
		f.line(1, "MOVD $"+tableName+", %s", []register{f.table.r})
	}
	return f.table
}

// Imm sets d to a number.
func (f *Func) Imm(d GP, n int64) { f.line(1, fmt.Sprintf("MOVD $%d, %%s", n), []register{d.r}) }

// Move copies a register.
func (f *Func) Move(d, x GP) {
	f.line(1, "MOVD %[2]s, %[1]s", []register{d.r, x.r})
}

// Gen is an instruction of general registers with three operands, d = a op b, in
// the syntax of Go's assembler: Gen("ADD", d, a, b).
func (f *Func) Gen(op string, d, a, b GP) {
	f.line(1, op+" %[3]s, %[2]s, %[1]s", []register{d.r, a.r, b.r})
}

// GenImm is Gen with a number for b.
func (f *Func) GenImm(op string, d, a GP, n int64) {
	f.line(1, fmt.Sprintf("%s $%d, %%[2]s, %%[1]s", op, n), []register{d.r, a.r})
}

// GenTwo is an instruction with two operands: GenTwo("CLZW", d, x).
func (f *Func) GenTwo(op string, d, x GP) {
	f.line(1, op+" %[2]s, %[1]s", []register{d.r, x.r})
}

// AddShifted sets d = a + b<<shift.
func (f *Func) AddShifted(d, a, b GP, shift int) {
	f.line(1, fmt.Sprintf("ADD %%[3]s<<%d, %%[2]s, %%[1]s", shift), []register{d.r, a.r, b.r})
}

// Compare compares a with b for Branch; CompareImm with a number.
func (f *Func) Compare(a, b GP) { f.line(0, "CMP %[2]s, %[1]s", []register{a.r, b.r}) }

// CompareImm compares a with a number for Branch.
func (f *Func) CompareImm(a GP, n int64) {
	f.line(0, fmt.Sprintf("CMP $%d, %%s", n), []register{a.r})
}

// Select sets d to a on a condition that a comparison left, and else to b.
func (f *Func) Select(condition string, d, a, b GP) {
	f.line(1, "CSEL "+condition+", %[2]s, %[3]s, %[1]s", []register{d.r, a.r, b.r})
}

// Get loads a general register: Get("MOVWU", d, base, 8).
func (f *Func) Get(op string, d, base GP, offset int) {
	f.line(1, fmt.Sprintf("%s %d(%%[2]s), %%[1]s", op, offset), []register{d.r, base.r})
}

// Put stores a general register.
func (f *Func) Put(op string, x, base GP, offset int) {
	f.line(0, fmt.Sprintf("%s %%[1]s, %d(%%[2]s)", op, offset), []register{x.r, base.r})
}
