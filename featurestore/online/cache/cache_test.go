// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow is the store behind the cache: for each key a version, counted up by every
// change. The value of a version is a function of both, so a reader can tell.
type slow struct {
	mu       sync.Mutex
	versions []uint64
}

func (s *slow) read(key int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[key]
}

func (s *slow) change(key int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[key]++
}

func valueAt(key int, version uint64) string { return fmt.Sprintf("%d@%d", key, version) }

func keyOf(key int) string {
	return string(AppendKey(nil, key%3, binary.LittleEndian.AppendUint32(nil, uint32(key))))
}

// hashes are the ones of New and ones that collide, in part and in full.
var hashes = map[string]func(string) (uint64, uint64){
	"good":           nil,
	"first collides": func(k string) (uint64, uint64) { return 7, uint64(k[4]) },
	"all collide":    func(string) (uint64, uint64) { return 7, 7 },
	"pairs collide":  func(k string) (uint64, uint64) { return uint64(k[4] / 2), uint64(k[4] / 2) },
}

func opened[V any](t *testing.T, hash func(string) (uint64, uint64), o Options) *Cache[V] {
	t.Helper()
	c, err := New[V](o)
	if hash != nil {
		c.Close()
		c, err = newHashed[V](o, hash)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestModel makes random calls in random order, in which Puts come long after the read
// that they are of, and compares what is shown with the slower store.
func TestModel(t *testing.T) {
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				model(t, seed, hash)
			}
		})
	}
}

func model(t *testing.T, seed uint64, hash func(string) (uint64, uint64)) {
	const keys = 40
	r := rand.New(rand.NewPCG(seed, 1))
	c := opened[string](t, hash, Options{BytesMax: bytesMin, EntryBytes: 1 << 12})
	s := &slow{versions: make([]uint64, keys)}
	type late struct {
		key     int
		version uint64
	}
	var puts []late
	put := func(p late) { c.Put(keyOf(p.key), Epoch(p.version), valueAt(p.key, p.version), 1<<12) }
	shown := 0
	for range 5000 {
		key := r.IntN(keys)
		switch r.IntN(10) {
		case 0, 1:
			s.change(key)
		case 2:
			c.inner.Wait()
		case 3:
			c.inner.Del(keyOf(key))
		case 4:
			if len(puts) > 0 {
				i := r.IntN(len(puts))
				put(puts[i])
				puts = append(puts[:i], puts[i+1:]...)
			}
		default:
			current := s.read(key)
			v, ok := c.Use(c.Find(keyOf(key)), Epoch(current))
			if ok && v != valueAt(key, current) {
				t.Fatalf("seed %d: key %d at version %d: cache shows %s", seed, key, current, v)
			}
			if ok {
				shown++
			} else if p := (late{key, current}); r.IntN(2) == 0 {
				put(p)
			} else {
				puts = append(puts, p)
			}
		}
	}
	st := c.Stats()
	if shown == 0 || st.Hits != int64(shown) || st.Stale == 0 {
		t.Errorf("seed %d: %d values shown, %+v: the test tested nothing", seed, shown, st)
	}
	if st.Bytes > bytesMin {
		t.Errorf("seed %d: %d bytes kept, bound %d", seed, st.Bytes, bytesMin)
	}
}

// TestInterleavings runs readers, who put what they read a while ago, against writers,
// in the time of a bubble, so that every wait ends in an order of its own.
func TestInterleavings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 8
		c := opened[string](t, hashes["pairs collide"], Options{BytesMax: bytesMin})
		s := &slow{versions: make([]uint64, keys)}
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 2))
				for range 200 {
					time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
					s.change(r.IntN(keys))
				}
			})
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 3))
				for range 500 {
					key := r.IntN(keys)
					e := c.Find(keyOf(key))
					time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
					current := s.read(key)
					if v, ok := c.Use(e, Epoch(current)); ok {
						if v != valueAt(key, current) {
							t.Errorf("key %d at version %d: cache shows %s", key, current, v)
						}
						continue
					}
					time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
					c.Put(keyOf(key), Epoch(current), valueAt(key, current), 100)
				}
			})
		}
		all.Wait()
		if st := c.Stats(); st.Hits == 0 || st.Stale == 0 {
			t.Errorf("%+v: the test tested nothing", st)
		}
		c.Close()
	})
}

// TestParallel is for the race detector, and closes while others go on.
func TestParallel(t *testing.T) {
	const keys, rounds, closing = 64, 3000, 2500
	c := opened[string](t, nil, Options{BytesMax: bytesMin})
	s := &slow{versions: make([]uint64, keys)}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 4))
			for i := range rounds {
				key := r.IntN(keys)
				if r.IntN(8) == 0 {
					s.change(key)
				}
				current := s.read(key)
				if v, ok := c.Use(c.Find(keyOf(key)), Epoch(current)); ok && v != valueAt(key, current) {
					t.Errorf("key %d at version %d: cache shows %s", key, current, v)
				}
				c.Put(keyOf(key), Epoch(current), valueAt(key, current), 200)
				if w == 0 && i == closing {
					c.Close()
				}
			}
		})
	}
	all.Wait()
	if c.Find(keyOf(1)) != nil {
		t.Error("a closed cache has an entry")
	}
	// Those of whoever closed it, at least: the others may have been done by then.
	if st := c.Stats(); st.Puts != 4*rounds || st.Lost < rounds-1-closing {
		t.Errorf("%+v: Puts after Close are not told as lost", st)
	}
}

func TestOptions(t *testing.T) {
	if _, err := New[int](Options{BytesMax: bytesMin - 1}); !errors.Is(err, ErrOptions) {
		t.Errorf("error %v for a cache that is too small", err)
	}
}

// TestFindDoesNotAllocate pins that a look-up is free of garbage.
func TestFindDoesNotAllocate(t *testing.T) {
	c := opened[string](t, nil, Options{BytesMax: bytesMin})
	key := keyOf(1)
	c.Put(key, Epoch(1), "x", 1)
	c.inner.Wait()
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := c.Use(c.Find(key), Epoch(1)); !ok {
			t.Fatal("the entry is gone")
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

// go test -bench . -run '^$' ./featurestore/online/cache
func BenchmarkFindUse(b *testing.B) {
	c, err := New[string](Options{BytesMax: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	keys := make([]string, 1<<14)
	for i := range keys {
		keys[i] = keyOf(i)
		c.Put(keys[i], Epoch(1), "x", 1000)
	}
	c.inner.Wait()
	b.ReportAllocs()
	found, i := 0, 0
	for b.Loop() {
		if _, ok := c.Use(c.Find(keys[i&(1<<14-1)]), Epoch(1)); ok {
			found++
		}
		i++
	}
	b.ReportMetric(float64(found)/float64(b.N), "hits/op")
}
