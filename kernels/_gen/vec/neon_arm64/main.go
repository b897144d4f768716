// SPDX-License-Identifier: Apache-2.0

// Command neon_arm64 generates the NEON kernels of kernels/vec. They give the same
// bits as plain Go: products are rounded before they are added, sums keep the order
// that the package names, and of two zeros that are compared the second one stays.
package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

func main() {
	neon.Generate(func(f *neon.File) {
		writeBinaryRows(f)
		writeBinaryColumn(f)
		writeTernary(f)
		writeTernaryScalar(f)
		writeAxpy(f)
		writeReduceRows(f)
		writeDot(f)
		writeReduceCols(f)
		writeIndexOf(f)
		writeBag(f)
		writeWithin(f)
		writeConversions(f)
		writeBucketize(f, "bucketizeNEON", "int32", "MOVW", 4)
		writeBucketize(f, "bucketizeBytesNEON", "uint8", "MOVB", 1)
		writeSkip(f)
		writeBound(f)
		writeCountBeyond(f)
	})
}

const vectorBytes = 16

// cases emits body once for each name and the branches that choose between them by
// number. Body does not go on.
func cases(f *neon.Func, which neon.GP, names []string, body func(name string)) {
	for i, name := range names {
		next := "not_" + name
		f.CompareImm(which, int64(i))
		f.Branch("NE", next)
		body(name)
		f.Label(next)
	}
	f.Return()
}

// perRow emits body for each of some rows, then moves pointers on by steps of words.
func perRow(f *neon.Func, label string, rows neon.GP, pointers, steps []neon.GP, body func()) {
	f.Label(label)
	body()
	for i, p := range pointers {
		f.AddShifted(p, p, steps[i], 2)
	}
	f.GenImm("SUBS", rows, rows, 1)
	f.Branch("NE", label)
}

// lesser is the smaller of a and b, greater the larger: NaN if either is, and b of two
// zeros, which the instruction would order by their signs.
func lesser(f *neon.Func, a, b neon.Vec) neon.Vec  { return pick(f, neon.FMIN, a, b) }
func greater(f *neon.Func, a, b neon.Vec) neon.Vec { return pick(f, neon.FMAX, a, b) }

func pick(f *neon.Func, op neon.Op, a, b neon.Vec) neon.Vec {
	out, same := f.Vec(), f.Vec()
	f.Do(neon.FCMEQ, same, a, b)
	f.Do(op, out, a, b)
	f.Do(neon.BIT, out, b, same)
	return out
}

// numbered explains the numbers of the kinds in a doc comment.
func numbered(names []string) (text string) {
	for i, name := range names {
		text += fmt.Sprintf(" %d is %s.", i, name)
	}
	return text
}
