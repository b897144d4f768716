// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// extension is that of segments.
const extension = ".jsonl"

// index says where reports lie: some hundred bytes for each of at most ReportsMax.
type index struct {
	segments []*segment // by number
	byKey    map[key]entry
	damaged  int
	// newest is the time of the newest report. changes counts what is more than a report behind
	// all others: what was derived from all is to be derived anew.
	newest  int64
	changes int
}

// segment is a file of reports.
type segment struct {
	number int
	read   int64 // bytes of whole lines that were read
	lines  int
}

// key is of one report, see R2.
type key struct {
	window  monitor.Duration
	start   int64
	matured bool
}

// entry is where a report lies and what queries ask of it.
type entry struct {
	key
	end, at int64
	segment int
	offset  int64
	length  int
	hash    uint64
	events  bool
}

func newIndex() index { return index{byKey: map[key]entry{}} }

func keyOf(r *monitor.Report) key { return key{r.Window, r.Start, r.Matured} }

// segmentsOf are the numbers of a folder's segments, in order. A folder that is not there
// has none.
func segmentsOf(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), extension)
		n, err := strconv.Atoi(name)
		if ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// keep makes the segments those that there are.
func (x *index) keep(numbers []int) {
	for _, g := range slices.Clone(x.segments) {
		if !slices.Contains(numbers, g.number) {
			x.drop(g)
		}
	}
	for _, n := range numbers {
		i, found := slices.BinarySearchFunc(x.segments, n, func(g *segment, n int) int { return g.number - n })
		if !found {
			x.segments = slices.Insert(x.segments, i, &segment{number: n})
		}
	}
}

// drop forgets a segment and its reports.
func (x *index) drop(g *segment) {
	x.changes++
	x.segments = slices.DeleteFunc(x.segments, func(o *segment) bool { return o == g })
	maps.DeleteFunc(x.byKey, func(_ key, e entry) bool { return e.segment == g.number })
}

// take adds the whole lines of a text that follows what was read of a segment.
func (x *index) take(g *segment, text []byte) {
	for {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return
		}
		x.add(g, text[:end])
		g.read += int64(end + 1)
		g.lines++
		text = text[end+1:]
	}
}

// head is what the index reads of a report.
type head struct {
	Window         monitor.Duration
	Start, End, At int64
	Matured        bool
	Events         []struct{}
}

func (x *index) add(g *segment, line []byte) {
	var h head
	if err := json.Unmarshal(line, &h); err != nil || h.Window <= 0 || h.End < h.Start {
		x.damaged++
		return
	}
	k := key{h.Window, h.Start, h.Matured}
	old, ok := x.byKey[k]
	if ok && old.segment > g.number {
		return
	}
	if ok || h.At < x.newest {
		x.changes++
	}
	x.newest = max(x.newest, h.At)
	x.byKey[k] = entry{key: k, end: h.End, at: h.At, segment: g.number, offset: g.read, length: len(line), hash: hashOf(line), events: len(h.Events) > 0}
}
