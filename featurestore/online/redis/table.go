// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// table is what the store needs to know of a view or lookup.
type table struct {
	name string
	// print is the name and a hash of all that the stored values depend on: another
	// definition is another table.
	print    string
	view     *window.View // nil for a lookup
	entities []*definition.Entity
	// ttl is for how long after its last change an entity can matter, in milliseconds, as
	// Redis takes it; "0" is for ever.
	ttl string
	// apart is how long the view keeps events apart that it may be asked to tell from
	// duplicates, in microseconds; entries and bytes are its bounds.
	apart          int64
	entries, bytes int
	// columns are the numeric ones of an event, keys the number of the others.
	columns []string
	keys    int
}

func newTable(t *plan.Table) table {
	h := sha256.New()
	n := table{name: t.Name}
	if t.View != nil {
		d := t.View.Window.Definition()
		n.view, n.entities, n.ttl = t.View.Window, t.View.Entities, milliseconds(reach(&d))
		n.apart, n.entries, n.bytes = d.DuplicateHorizon.Microseconds(), d.EntriesMax, d.BytesMax
		n.columns, n.keys = d.Columns, len(d.Keys)
		describeView(h, t.View, &d)
	} else {
		l := t.Lookup
		n.entities, n.ttl = l.Entities, milliseconds(l.TTL)
		if l.TTL > 0 {
			n.ttl = milliseconds(l.TTL + l.Source.FutureMax)
		}
		describeLookup(h, l)
	}
	n.print = t.Name + "." + hex.EncodeToString(h.Sum(nil)[:8])
	return n
}

// reach is for how long after a write an entity can matter. The newest event is then at
// most FutureMax ahead. It counts until it has left all windows, and its age is told
// until MaxAge; late ones are compared with it until LatenessMax.
func reach(d *window.Definition) time.Duration {
	longest := max(d.MaxAge, d.LatenessMax)
	for _, f := range d.Features {
		longest = max(longest, f.Window+f.Hop+f.Delay)
	}
	return longest + d.FutureMax
}

// milliseconds rounds up, so that what is not for ever is not zero.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10)
}

func describeView(h hash.Hash, v *definition.View, d *window.Definition) {
	fmt.Fprintf(h, "view %d %s source %s filter %q\n", formatVersion, v.Name, v.Source.Name, text(v.Filter))
	describeKeys(h, v.Entities, v.Keys, v.Source)
	for _, c := range v.Columns {
		field := ""
		if c.Field >= 0 {
			field = v.Source.Fields[c.Field].Name
		}
		fmt.Fprintf(h, "column %q program %q filter %q\n", field, text(c.Program), text(c.Filter))
	}
	for _, c := range v.KeyColumns {
		fmt.Fprintf(h, "key column %q filter %q\n", v.Source.Fields[c.Field].Name, text(c.Filter))
	}
	fmt.Fprintf(h, "window %+v\n", *d)
}

func describeLookup(h hash.Hash, l *definition.Lookup) {
	fmt.Fprintf(h, "lookup %d %s source %s ttl %d\n", formatVersion, l.Name, l.Source.Name, l.TTL)
	describeKeys(h, l.Entities, l.Keys, l.Source)
	for _, f := range l.Fields {
		fmt.Fprintf(h, "field %q type %v\n", l.Source.Fields[f].Name, l.Source.Fields[f].Type)
	}
}

func describeKeys(h hash.Hash, entities []*definition.Entity, keys []int, s *definition.Source) {
	for i, e := range entities {
		fmt.Fprintf(h, "key %q type %v field %q\n", e.Name, e.Type, s.Fields[keys[i]].Name)
	}
}

func text(p *expression.Program) string {
	if p == nil {
		return ""
	}
	return p.String()
}

// describe names an entity for messages.
func (t *table) describe(key []byte) string {
	return t.name + "[" + plan.FormatKey(t.entities, key) + "]"
}
