// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"encoding/binary"
	"math/bits"
)

// The multipliers of XXH64, from its specification:
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
	prime5 uint64 = 0x27d4eb2f165667c5
)

// Hash64 is the XXH64 of data.
func Hash64(data []byte, seed uint64) uint64 {
	n := uint64(len(data))
	var h uint64
	if len(data) >= 32 {
		h, data = stripes(data, seed)
	} else {
		h = seed + prime5
	}
	h += n
	for ; len(data) >= 8; data = data[8:] {
		h = bits.RotateLeft64(h^lane(0, binary.LittleEndian.Uint64(data)), 27)*prime1 + prime4
	}
	if len(data) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(data))*prime1, 23)*prime2 + prime3
		data = data[4:]
	}
	for _, b := range data {
		h = bits.RotateLeft64(h^uint64(b)*prime5, 11) * prime1
	}
	return avalanche(h)
}

// stripes takes all whole stripes of 32 bytes in and gives what is left.
func stripes(data []byte, seed uint64) (h uint64, rest []byte) {
	p1, p2 := prime1, prime2
	a, b, c, d := seed+p1+p2, seed+p2, seed, seed-p1
	for ; len(data) >= 32; data = data[32:] {
		a = lane(a, binary.LittleEndian.Uint64(data))
		b = lane(b, binary.LittleEndian.Uint64(data[8:]))
		c = lane(c, binary.LittleEndian.Uint64(data[16:]))
		d = lane(d, binary.LittleEndian.Uint64(data[24:]))
	}
	h = bits.RotateLeft64(a, 1) + bits.RotateLeft64(b, 7) + bits.RotateLeft64(c, 12) + bits.RotateLeft64(d, 18)
	for _, v := range [4]uint64{a, b, c, d} {
		h = (h^lane(0, v))*prime1 + prime4
	}
	return h, data
}

func lane(accumulator, input uint64) uint64 {
	return bits.RotateLeft64(accumulator+input*prime2, 31) * prime1
}

func avalanche(h uint64) uint64 {
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// HashRows sets dst[r] to the Hash64 of row r of src, whose rows are rowBytes bytes.
func HashRows(dst []uint64, src []byte, rowBytes int, seed uint64) {
	area("HashRows", len(dst), rowBytes, len(src))
	for r := range dst {
		dst[r] = Hash64(src[r*rowBytes:][:rowBytes], seed)
	}
}

// HashInt64s sets dst[i] to the Hash64 of the 8 bytes of src[i], little endian.
func HashInt64s(dst []uint64, src []int64, seed uint64) {
	need("HashInt64s", len(dst), len(src))
	if len(dst) > 0 {
		hashInt64s(dst, src, seed)
	}
}

// hashStart is the state before the only 8 bytes.
func hashStart(seed uint64) uint64 { return seed + prime5 + 8 }

func hashInt64sGeneric(dst []uint64, src []int64, seed uint64) {
	start := hashStart(seed)
	for i := range dst {
		dst[i] = avalanche(bits.RotateLeft64(start^lane(0, uint64(src[i])), 27)*prime1 + prime4)
	}
}

// HashToBucket maps a hash to one of buckets buckets, which must not be 0, by its
// upper bits: the same share of all hashes goes to each, within one in 2^64.
func HashToBucket(hash, buckets uint64) uint64 {
	bucket, _ := bits.Mul64(hash, buckets)
	return bucket
}

// Murmur3 is the 32-bit MurmurHash3 (x86_32) of data, as published by A. Appleby:
// https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
func Murmur3(data []byte, seed uint32) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	h, n := seed, uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		h ^= bits.RotateLeft32(binary.LittleEndian.Uint32(data)*c1, 15) * c2
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	var tail uint32
	for i, b := range data {
		tail |= uint32(b) << (8 * i)
	}
	h ^= bits.RotateLeft32(tail*c1, 15) * c2
	h ^= n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// HashFeature is the column, of features columns, and the sign that scikit-learn's
// FeatureHasher gives a feature's name: the Murmur3 of it with seed 0, as a signed
// number. features is at least 1 and below 2^31.
func HashFeature(name []byte, features int) (column int, sign float32) {
	h := int64(int32(Murmur3(name, 0)))
	sign = 1
	if h < 0 {
		h, sign = -h, -1
	}
	return int(h % int64(features)), sign
}
