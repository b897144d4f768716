// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
)

// record is what a bucket says of itself, as of one revision. It is immutable.
type record struct {
	// revision is the field g; id names the record until something is lost.
	revision, id string
	writes       uint64
	// owner is who wrote for the store's log last, 0 for nobody.
	owner   uint64
	members []string
	tables  []tableRecord
}

// tableRecord is what the record of a bucket says of a table.
type tableRecord struct {
	// part is the table's part of the keys; empty if the table is not known there.
	part string
	// missing is a member whose events are not all there, if whole is false.
	whole   bool
	missing string
	// done says that those of the store's own log are, known that they are up to through.
	done, known bool
	through     uint64
}

// Fields of a record; LOG may be empty for events that no log has.
//
//	g  revision: id, ".", r
//	id names the record; another one comes with every loss
//	r  counts revisions
//	n  counts calls of writeScript; it leaps with every loss
//	c:OWNER        counts those of an owner
//	t:TABLE        its part of the keys
//	m:LOG          a log whose events are to be in the tables
//	i:LOG          the owner that writes for it
//	d:LOG/TABLE    the id under which all its events were brought into the table
//	w:LOG/TABLE    all its records up to this sequence are in the table
//	b:LOG/TABLE    the attempt to bring them out of order that is under way
const (
	fieldRevision = "g"
	fieldID       = "id"
	fieldWrites   = "n"
)

// parseRecord reads the record of a bucket; nil if there is none.
func parseRecord(fields map[string]string, logName string, tables []table) (*record, error) {
	if fields[fieldID] == "" || fields[fieldRevision] == "" {
		return nil, nil
	}
	r := &record{revision: fields[fieldRevision], id: fields[fieldID], tables: make([]tableRecord, len(tables))}
	var err error
	if r.writes, err = strconv.ParseUint(fields[fieldWrites], 10, 64); err != nil {
		return nil, fmt.Errorf("%w: number of writes %q", online.ErrCorrupt, fields[fieldWrites])
	}
	if owner := fields["i:"+logName]; owner != "" && logName != "" {
		if r.owner, err = strconv.ParseUint(owner, 16, 64); err != nil {
			return nil, fmt.Errorf("%w: owner %q of log %q", online.ErrCorrupt, owner, logName)
		}
	}
	for f := range fields {
		if m, ok := strings.CutPrefix(f, "m:"); ok {
			r.members = append(r.members, m)
		}
	}
	slices.Sort(r.members)
	for i := range tables {
		if r.tables[i], err = parseTable(fields, logName, tables[i].print, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func parseTable(fields map[string]string, logName, print string, r *record) (t tableRecord, err error) {
	t = tableRecord{part: fields["t:"+print], whole: true}
	for _, m := range r.members {
		if fields["d:"+m+"/"+print] != r.id {
			t.whole, t.missing = false, m
			break
		}
	}
	if logName == "" {
		t.done = true
		return t, nil
	}
	tail := logName + "/" + print
	t.done = fields["d:"+tail] == r.id
	if w := fields["w:"+tail]; w != "" {
		if t.through, err = strconv.ParseUint(w, 10, 64); err != nil {
			return t, fmt.Errorf("%w: sequence %q of log %q", online.ErrCorrupt, w, logName)
		}
		t.known = true
	}
	return t, nil
}

// writesOf is how often an owner has written.
func writesOf(fields map[string]string, o *owner) uint64 {
	n, err := strconv.ParseUint(fields[o.field], 10, 64)
	if err != nil {
		return 0 // it has not, or the field is damaged, which then counts as a loss
	}
	return n
}

// fieldsOf reads what HGETALL in a script returns.
func fieldsOf(m *rueidis.RedisMessage) (map[string]string, error) {
	flat, err := m.AsStrSlice()
	if err != nil || len(flat)%2 != 0 {
		return nil, fmt.Errorf("%w: the record of a bucket is not one", online.ErrCorrupt)
	}
	fields := make(map[string]string, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		fields[flat[i]] = flat[i+1]
	}
	return fields, nil
}
