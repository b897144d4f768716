// SPDX-License-Identifier: Apache-2.0

package record

// CacheBytes bounds the lines whose reports are kept decoded: a page that shows a monitor asks
// for the same ones every few seconds, and decoding them is nearly all of its work.
const CacheBytes = 16 << 20

// cache has decoded reports by what they are of. Which goes first when it is full does not
// matter much: whoever reads more than it holds reads files.
type cache struct {
	byKey map[key]decoded
	bytes int // of the lines
}

type decoded struct {
	report *Report
	hash   uint64
	length int
}

// remembered is a decoded report, nil if it is not there or was replaced.
func (s *Store) remembered(e *entry) *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.mu.cache.byKey[e.key]; ok && d.hash == e.hash {
		return d.report
	}
	return nil
}

func (s *Store) remember(e *entry, r *Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.mu.cache
	if c.byKey == nil {
		c.byKey = map[key]decoded{}
	}
	c.forget(e.key)
	for k := range c.byKey {
		if c.bytes+e.length <= CacheBytes {
			break
		}
		c.forget(k)
	}
	if e.length <= CacheBytes && !s.mu.closed {
		c.byKey[e.key] = decoded{r, e.hash, e.length}
		c.bytes += e.length
	}
}

func (c *cache) forget(k key) {
	c.bytes -= c.byKey[k].length
	delete(c.byKey, k)
}
