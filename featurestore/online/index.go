// SPDX-License-Identifier: Apache-2.0

package online

// index finds the slot of an entity by the lower half of its key's hash, its tag. It
// is open addressing with linear probing: a place holds the tag and the slot plus one,
// and 0 is free. Tags may be equal, so whoever asks compares the key. It holds no
// pointers, so the collector passes over it.
type index struct {
	places []uint64
	used   int
}

const indexPlacesMin = 8

// presize makes room for n entities.
func (x *index) presize(n int) {
	size := indexPlacesMin
	for size*3 < n*4 {
		size *= 2
	}
	if size > len(x.places) {
		x.rehash(size)
	}
}

func (x *index) rehash(size int) {
	old := x.places
	x.places = make([]uint64, size)
	for _, p := range old {
		if p != 0 {
			x.places[x.freePlace(uint32(p>>32))] = p
		}
	}
}

func (x *index) freePlace(tag uint32) int {
	mask := len(x.places) - 1
	i := int(tag) & mask
	for x.places[i] != 0 {
		i = (i + 1) & mask
	}
	return i
}

// add adds a slot that is not there.
func (x *index) add(tag uint32, slot int) {
	if (x.used+1)*4 > len(x.places)*3 {
		x.rehash(max(indexPlacesMin, 2*len(x.places)))
	}
	x.places[x.freePlace(tag)] = uint64(tag)<<32 | uint64(slot+1)
	x.used++
}

// remove takes a slot out and closes the gap, so that no search ends early.
func (x *index) remove(tag uint32, slot int) {
	mask := len(x.places) - 1
	i := int(tag) & mask
	for x.places[i] != uint64(tag)<<32|uint64(slot+1) {
		i = (i + 1) & mask
	}
	for next := (i + 1) & mask; x.places[next] != 0; next = (next + 1) & mask {
		home := int(x.places[next]>>32) & mask
		if (next-home)&mask >= (next-i)&mask { // it may stand at i
			x.places[i] = x.places[next]
			i = next
		}
	}
	x.places[i] = 0
	x.used--
}
