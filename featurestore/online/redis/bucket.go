// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
)

// bucket is a part of the entities that one hash tag keeps together, and so one server.
type bucket struct {
	// prefix begins its keys: the store's and the tag.
	prefix string
	// key is that of its record, turn that of who alone may write for a moment.
	key, turn string
	record    atomic.Pointer[record]
	// seen is the highest n that an answer told of: less than that is a loss.
	seen  atomic.Uint64
	owner atomic.Pointer[owner]
}

// owner is who the store writes as in one bucket.
type owner struct {
	id uint64
	// field is the field of the record that counts the owner's writes.
	field string
	// writes is the highest c that an answer told of: less than that is a loss.
	writes atomic.Uint64
}

func formatOwner(id uint64) string { return strconv.FormatUint(id, 16) }

func newOwner(id, writes uint64) *owner {
	o := &owner{id: id, field: "c:" + formatOwner(id)}
	o.writes.Store(writes)
	return o
}

func newBuckets(o *Options) []bucket {
	buckets := make([]bucket, o.Buckets)
	for i := range buckets {
		buckets[i].prefix = o.Prefix + "{" + strconv.Itoa(i) + "}"
		buckets[i].key = buckets[i].prefix + ":record"
		buckets[i].turn = buckets[i].prefix + ":turn"
	}
	return buckets
}

// bucketOf returns the place of an entity's bucket.
func bucketOf(key []byte, buckets int) int {
	if buckets == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write(key)
	return int(h.Sum32() & uint32(buckets-1))
}

// appendKey appends the key of an entity, given the table's part of the keys.
func (b *bucket) appendKey(dst []byte, part string, key []byte) []byte {
	dst = append(append(append(dst, b.prefix...), part...), ':')
	return append(dst, key...)
}

// known is what the store knows of a bucket when it sends a request.
type known struct {
	record       *record
	owner        *owner
	seen, writes uint64
}

func (b *bucket) known() known {
	k := known{record: b.record.Load(), owner: b.owner.Load(), seen: b.seen.Load()}
	k.writes = k.owner.writes.Load()
	return k
}

// verdict says what an answer means.
type verdict uint8

const (
	fine verdict = iota
	// revised: the record has changed, and is to be loaded.
	revised
	// lostStates: the server knows less than it told before.
	lostStates
)

// judge compares an answer's head, {g, n, c}, with what was known when it was asked for.
func (b *bucket) judge(k *known, reply *rueidis.RedisMessage) (verdict, []rueidis.RedisMessage, error) {
	answer, err := reply.ToArray()
	if err != nil || len(answer) == 0 {
		return 0, nil, fmt.Errorf("%w: an answer is no list", online.ErrCorrupt)
	}
	head, err := answer[0].ToArray()
	if err != nil || len(head) != 3 {
		return 0, nil, fmt.Errorf("%w: the record %s is not one", online.ErrCorrupt, b.key)
	}
	revision, _ := head[0].ToString()
	n, own := number(&head[1]), number(&head[2])
	switch {
	case head[0].IsNil():
		return lostStates, nil, nil
	case revision != k.record.revision:
		return revised, nil, nil
	case n < k.seen || own < k.writes:
		return lostStates, nil, nil
	}
	raise(&b.seen, n)
	raise(&k.owner.writes, own)
	return fine, answer[1:], nil
}

// number reads a count that may be an integer, a text, or missing.
func number(m *rueidis.RedisMessage) uint64 {
	if m.IsNil() {
		return 0
	}
	n, err := m.AsUint64()
	if err != nil {
		return 0
	}
	return n
}

func raise(a *atomic.Uint64, to uint64) {
	for {
		old := a.Load()
		if to <= old || a.CompareAndSwap(old, to) {
			return
		}
	}
}

// adopt makes a record the current one.
func (b *bucket) adopt(r *record) {
	raise(&b.seen, r.writes)
	b.record.Store(r)
}

func (r *record) hasMember(log string) bool { return slices.Contains(r.members, log) }
