// SPDX-License-Identifier: Apache-2.0

package trees

import "encoding/binary"

// histogram has the packed sums of a node's rows by feature and bin. Counts has the rows,
// where the least rows of a leaf are asked for, else it is nil.
type histogram struct {
	sums   [][binsMax]uint64
	counts [][binsMax]uint32
}

// addGroup adds rows to the histogram of a group of features, given their bins, eight
// bytes for each row of the table, and their packed derivatives, by position in rows.
func addGroup(sums [][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	switch len(sums) {
	case 8:
		add8((*[8][binsMax]uint64)(sums), bins, rows, packed)
	case 7:
		add7((*[7][binsMax]uint64)(sums), bins, rows, packed)
	case 6:
		add6((*[6][binsMax]uint64)(sums), bins, rows, packed)
	case 5:
		add5((*[5][binsMax]uint64)(sums), bins, rows, packed)
	case 4:
		add4((*[4][binsMax]uint64)(sums), bins, rows, packed)
	default:
		for f := range sums {
			add1(&sums[f], bins[f:], rows, packed)
		}
	}
}

// countGroup adds 1 for each row.
func countGroup(counts [][binsMax]uint32, bins []byte, rows []int32) {
	for f := range counts {
		h, of := &counts[f], bins[f:]
		for _, row := range rows {
			h[of[int(row)*groupMax]]++
		}
	}
}

func add1(h *[binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		h[bins[int(row)*groupMax]] += packed[i]
	}
}

// The rest are one loop for each width, since the compiler does not unroll: one load
// brings the bins, and constant offsets into the array need no check.

func add4(h *[4][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		b, v := binary.LittleEndian.Uint64(bins[int(row)*groupMax:]), packed[i]
		h[0][uint8(b)] += v
		h[1][uint8(b>>8)] += v
		h[2][uint8(b>>16)] += v
		h[3][uint8(b>>24)] += v
	}
}

func add5(h *[5][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		b, v := binary.LittleEndian.Uint64(bins[int(row)*groupMax:]), packed[i]
		h[0][uint8(b)] += v
		h[1][uint8(b>>8)] += v
		h[2][uint8(b>>16)] += v
		h[3][uint8(b>>24)] += v
		h[4][uint8(b>>32)] += v
	}
}

func add6(h *[6][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		b, v := binary.LittleEndian.Uint64(bins[int(row)*groupMax:]), packed[i]
		h[0][uint8(b)] += v
		h[1][uint8(b>>8)] += v
		h[2][uint8(b>>16)] += v
		h[3][uint8(b>>24)] += v
		h[4][uint8(b>>32)] += v
		h[5][uint8(b>>40)] += v
	}
}

func add7(h *[7][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		b, v := binary.LittleEndian.Uint64(bins[int(row)*groupMax:]), packed[i]
		h[0][uint8(b)] += v
		h[1][uint8(b>>8)] += v
		h[2][uint8(b>>16)] += v
		h[3][uint8(b>>24)] += v
		h[4][uint8(b>>32)] += v
		h[5][uint8(b>>40)] += v
		h[6][uint8(b>>48)] += v
	}
}

func add8(h *[8][binsMax]uint64, bins []byte, rows []int32, packed []uint64) {
	packed = packed[:len(rows)]
	for i, row := range rows {
		b, v := binary.LittleEndian.Uint64(bins[int(row)*groupMax:]), packed[i]
		h[0][uint8(b)] += v
		h[1][uint8(b>>8)] += v
		h[2][uint8(b>>16)] += v
		h[3][uint8(b>>24)] += v
		h[4][uint8(b>>32)] += v
		h[5][uint8(b>>40)] += v
		h[6][uint8(b>>48)] += v
		h[7][uint8(b>>56)] += v
	}
}
