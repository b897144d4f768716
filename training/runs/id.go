// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"crypto/rand"
	"time"
)

const (
	// idAlphabet is Crockford's base 32: digits and capitals that are not mistaken.
	idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	idLength   = 26
)

// newID makes an id of 48 bits of milliseconds and 80 of chance, as ULIDs are made, so
// that ids sort by time and processes need not agree on them.
func newID(at time.Time) string {
	var b [16]byte
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	_, _ = rand.Read(b[6:]) // it never fails
	var id [idLength]byte
	// 26 letters hold 130 bits: the first has two zero bits before the 128.
	for i := range id {
		var v uint
		for bit := i*5 - 2; bit < i*5+3; bit++ {
			v <<= 1
			if bit >= 0 {
				v |= uint(b[bit/8]>>(7-bit%8)) & 1
			}
		}
		id[i] = idAlphabet[v]
	}
	return string(id[:])
}
