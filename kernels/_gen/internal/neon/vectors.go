// SPDX-License-Identifier: Apache-2.0

package neon

import (
	"fmt"
	"strings"
)

// Op is a vector instruction with two or three registers. Its bits are those of the
// Arm Architecture Reference Manual (DDI 0487, C7.2) with all registers 0.
type Op struct {
	name  string
	lanes string // of the registers, the written one first
	bits  uint32
	reads bool   // the written register is read too
	plan9 string // its name in Go's assembler, or none
}

// Do writes an instruction: d, then the operands.
func (f *Func) Do(op Op, d Vec, operands ...Vec) {
	lanes := strings.Fields(op.lanes)
	if len(lanes) != 1+len(operands) {
		panic(fmt.Sprintf("%s with %d operands", op.name, len(operands)))
	}
	registers := []register{d.r}
	for _, v := range operands {
		registers = append(registers, v.r)
	}
	use := registers[1:]
	if op.reads {
		use = append(use[:len(use):len(use)], d.r)
	}
	if op.plan9 != "" {
		f.goSyntax(op, lanes, registers, use)
		return
	}
	var text []string
	for _, l := range lanes {
		switch {
		case len(l) == 1:
			text = append(text, l+"%d")
		default:
			text = append(text, "v%d."+l)
		}
	}
	f.word(op.bits, op.name+" "+strings.Join(text, ", "), registers[:1], use,
		func(number func(register) int) (bits uint32, names []any) {
			for i, r := range registers {
				bits |= uint32(number(r)) << [3]int{0, 5, 16}[i]
				names = append(names, number(r))
			}
			return bits, names
		})
}

// goSyntax writes an instruction that Go's assembler knows; it has operands reversed
// and lanes as in S4.
func (f *Func) goSyntax(op Op, lanes []string, registers, use []register) {
	var text []string
	for i := len(lanes) - 1; i >= 0; i-- {
		l := strings.ToUpper(lanes[i])
		text = append(text, fmt.Sprintf("%%[%d]s.%s%s", i+1, l[len(l)-1:], l[:len(l)-1]))
	}
	f.line(1, op.plan9+" "+strings.Join(text, ", "), registers)
	f.code[len(f.code)-1].use = use
}

// AddLane is d += a * b[lane], rounded once.
func (f *Func) AddLane(d, a, b Vec, lane int) {
	f.word(0x4f801000|uint32(lane&1)<<21|uint32(lane>>1)<<11, fmt.Sprintf("fmla v%%d.4s, v%%d.4s, v%%d.s[%d]", lane),
		[]register{d.r}, []register{a.r, b.r, d.r}, func(number func(register) int) (uint32, []any) {
			return uint32(number(d.r) | number(a.r)<<5 | number(b.r)<<16), []any{number(d.r), number(a.r), number(b.r)}
		})
}

// The shifts by a number. Lanes are of 8, 16, 32 or 64 bits.

// ShiftLeft shifts each lane to the left.
func (f *Func) ShiftLeft(d, x Vec, bits, by int) { f.shift("shl", 0x4f005400, d, x, bits, bits+by) }

// ShiftRight shifts zeros in from the left.
func (f *Func) ShiftRight(d, x Vec, bits, by int) {
	f.shift("ushr", 0x6f000400, d, x, bits, 2*bits-by)
}

// ShiftRightSigned shifts the sign in from the left.
func (f *Func) ShiftRightSigned(d, x Vec, bits, by int) {
	f.shift("sshr", 0x4f000400, d, x, bits, 2*bits-by)
}

// shift has an amount that says how wide the lanes are as well.
func (f *Func) shift(name string, base uint32, d, x Vec, bits, amount int) {
	by := amount - bits
	if name != "shl" {
		by = 2*bits - amount
	}
	lanes := map[int]string{8: "16b", 16: "8h", 32: "4s", 64: "2d"}[bits]
	f.word(base|uint32(amount)<<16, fmt.Sprintf("%s v%%d.%s, v%%d.%s, #%d", name, lanes, lanes, by),
		[]register{d.r}, []register{x.r}, func(number func(register) int) (uint32, []any) {
			return uint32(number(d.r) | number(x.r)<<5), []any{number(d.r), number(x.r)}
		})
}

// Zero clears a register.
func (f *Func) Zero(d Vec) {
	f.line(1, "VEOR %[1]s.B16, %[1]s.B16, %[1]s.B16", []register{d.r})
}

// Copy copies a register.
func (f *Func) Copy(d, x Vec) {
	f.line(1, "VORR %[2]s.B16, %[2]s.B16, %[1]s.B16", []register{d.r, x.r})
}

// DupWord puts the lower half of x in all four lanes.
func (f *Func) DupWord(d Vec, x GP) { f.line(1, "VDUP %[2]s, %[1]s.S4", []register{d.r, x.r}) }

// DupDouble puts x in both lanes of 64 bits.
func (f *Func) DupDouble(d Vec, x GP) { f.line(1, "VDUP %[2]s, %[1]s.D2", []register{d.r, x.r}) }

// DupLane puts one lane of 32 bits in all.
func (f *Func) DupLane(d, x Vec, lane int) {
	f.line(1, fmt.Sprintf("VDUP %%[2]s.S[%d], %%[1]s.S4", lane), []register{d.r, x.r})
}

// FromInt is an integer of 64 bits as a float in the first lane.
func (f *Func) FromInt(d Vec, x GP) { f.scalar(1, "SCVTFS %[2]s, %[1]s", d.r, x.r) }

// Rotate takes 16 bytes from byte by of a, going on in b.
func (f *Func) Rotate(d, a, b Vec, by int) {
	f.line(1, fmt.Sprintf("VEXT $%d, %%[3]s.B16, %%[2]s.B16, %%[1]s.B16", by), []register{d.r, a.r, b.r})
}

// Extract moves a lane to a general register; lanes is "S" or "D".
func (f *Func) Extract(d GP, x Vec, lanes string, lane int) {
	f.line(1, fmt.Sprintf("VMOV %%[2]s.%s[%d], %%[1]s", lanes, lane), []register{d.r, x.r})
}

// Load loads 16 bytes.
func (f *Func) Load(d Vec, base GP, offset int) { f.loadScalar("FMOVQ", d, base, offset) }

// LoadDouble loads 8 bytes and clears the others, LoadWord 4.
func (f *Func) LoadDouble(d Vec, base GP, offset int) { f.loadScalar("FMOVD", d, base, offset) }

// LoadWord loads 4 bytes and clears the others.
func (f *Func) LoadWord(d Vec, base GP, offset int) { f.loadScalar("FMOVS", d, base, offset) }

func (f *Func) loadScalar(op string, d Vec, base GP, offset int) {
	f.scalar(1, fmt.Sprintf("%s %d(%%[2]s), %%[1]s", op, offset), d.r, base.r)
}

// LoadPair loads 32 bytes into two registers.
func (f *Func) LoadPair(d, e Vec, base GP, offset int) {
	f.scalar(2, fmt.Sprintf("FLDPQ %d(%%[3]s), (%%[1]s, %%[2]s)", offset), d.r, e.r, base.r)
}

// LoadAll loads 4 bytes into all lanes.
func (f *Func) LoadAll(d Vec, base GP) {
	f.line(1, "VLD1R (%[2]s), [%[1]s.S4]", []register{d.r, base.r})
}

// LoadLane loads 4 bytes into one lane and keeps the others.
func (f *Func) LoadLane(d Vec, base GP, lane int) {
	f.line(1, fmt.Sprintf("VLD1 (%%[2]s), %%[1]s.S[%d]", lane), []register{d.r, base.r}, d.r)
}

// Store stores 16 bytes, StoreDouble the first 8, StoreWord the first 4.
func (f *Func) Store(x Vec, base GP, offset int) { f.storeScalar("FMOVQ", x, base, offset) }

// StoreDouble stores the first 8 bytes.
func (f *Func) StoreDouble(x Vec, base GP, offset int) { f.storeScalar("FMOVD", x, base, offset) }

// StoreWord stores the first 4 bytes.
func (f *Func) StoreWord(x Vec, base GP, offset int) { f.storeScalar("FMOVS", x, base, offset) }

func (f *Func) storeScalar(op string, x Vec, base GP, offset int) {
	f.scalar(0, fmt.Sprintf("%s %%[1]s, %d(%%[2]s)", op, offset), x.r, base.r)
}

// StoreLane stores one lane of 32 bits.
func (f *Func) StoreLane(x Vec, base GP, lane int) {
	f.line(0, fmt.Sprintf("VST1 %%[1]s.S[%d], (%%[2]s)", lane), []register{x.r, base.r})
}

// LoadWords loads 1 to 4 words and clears the others; it may use temporary as an
// address.
func (f *Func) LoadWords(d Vec, base, temporary GP, words, offset int) {
	switch words {
	case 1:
		f.LoadWord(d, base, offset)
	case 4:
		f.Load(d, base, offset)
	default:
		f.LoadDouble(d, base, offset)
	}
	if words == 3 {
		f.GenImm("ADD", temporary, base, int64(offset+8))
		f.LoadLane(d, temporary, 2)
	}
}

// StoreWords stores the first 1 to 4 words of x, as LoadWords loads them.
func (f *Func) StoreWords(x Vec, base, temporary GP, words, offset int) {
	switch words {
	case 1:
		f.StoreWord(x, base, offset)
	case 4:
		f.Store(x, base, offset)
	default:
		f.StoreDouble(x, base, offset)
	}
	if words == 3 {
		f.GenImm("ADD", temporary, base, int64(offset+8))
		f.StoreLane(x, temporary, 2)
	}
}

// LoadPart loads 1 to 3 words, as many as the lowest two bits of n say, and clears the
// others.
func (f *Func) LoadPart(d Vec, base, n GP) {
	temporary := f.GP()
	f.Part(n, func(words int) { f.LoadWords(d, base, temporary, words, 0) })
}

// StorePart stores the first 1 to 3 words of x, as LoadPart loads them.
func (f *Func) StorePart(x Vec, base, n GP) {
	temporary := f.GP()
	f.Part(n, func(words int) { f.StoreWords(x, base, temporary, words, 0) })
}

// Part emits body for 1, 2 and 3 words, between which the lowest two bits of n choose.
func (f *Func) Part(n GP, body func(words int)) {
	one, two, end := f.Unique("one"), f.Unique("two"), f.Unique("end")
	f.BranchNoBit(n, 1, one)
	f.BranchNoBit(n, 0, two)
	body(3)
	f.Jump(end)
	f.Label(two)
	body(2)
	f.Jump(end)
	f.Label(one)
	body(1)
	f.Label(end)
}
