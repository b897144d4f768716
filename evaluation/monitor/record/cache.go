// SPDX-License-Identifier: Apache-2.0

package record

import "sync"

// CacheBytes bounds the lines whose reports are kept decoded: a page that shows a monitor asks
// for the same ones every few seconds, and decoding them is nearly all of its work.
const CacheBytes = 16 << 20

// cache has decoded reports by what they are of. Which goes first when it is full does not
// matter much: whoever reads more than it holds reads files. Its lock is the innermost one.
type cache struct {
	mu struct {
		sync.Mutex
		byKey map[key]decoded
		bytes int // of the lines
	}
}

type decoded struct {
	report *Report
	hash   uint64
	length int
}

// get is a decoded report, nil if it is not there or was replaced.
func (c *cache) get(e *entry) *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.mu.byKey[e.key]; ok && d.hash == e.hash {
		return d.report
	}
	return nil
}

func (c *cache) put(e *entry, r *Report) {
	if e.length > CacheBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.byKey == nil {
		c.mu.byKey = map[key]decoded{}
	}
	c.forgetLocked(e.key)
	for k := range c.mu.byKey {
		if c.mu.bytes+e.length <= CacheBytes {
			break
		}
		c.forgetLocked(k)
	}
	c.mu.byKey[e.key] = decoded{r, e.hash, e.length}
	c.mu.bytes += e.length
}

func (c *cache) forgetLocked(k key) {
	c.mu.bytes -= c.mu.byKey[k].length
	delete(c.mu.byKey, k)
}
