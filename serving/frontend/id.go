// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"sync/atomic"
)

// idSource makes prediction ids: 26 characters of base32, a time in milliseconds, a
// random number of the process, a counter. Ids sort by time.
type idSource struct {
	process uint32
	next    *atomic.Uint64
}

func newIDSource() idSource {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	next := new(atomic.Uint64)
	next.Store(uint64(binary.LittleEndian.Uint32(seed[4:])))
	return idSource{process: binary.LittleEndian.Uint32(seed[:]), next: next}
}

// idAlphabet keeps the order of the bytes, and leaves out letters that are easily
// misread (Crockford's base 32).
var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// new returns an id for a time in milliseconds since 1970 UTC.
func (s *idSource) new(millis int64) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(millis)<<16)
	binary.BigEndian.PutUint32(raw[6:], s.process)
	counter := s.next.Add(1)
	raw[10], raw[11] = byte(counter>>40), byte(counter>>32)
	binary.BigEndian.PutUint32(raw[12:], uint32(counter))
	var text [26]byte
	idAlphabet.Encode(text[:], raw[:])
	return string(text[:])
}
