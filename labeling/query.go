// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Source makes tasks of the records of a stream.
type Source struct {
	// Query is what is read: the columns become fields of the data, under their names.
	Query offline.Query
	// Where keeps the records for which it is true, as `score > 0.4 && model == "ranker"`:
	// an expression (expr-lang.org) over the columns of the query, id and event_time (in
	// seconds since 1970). Empty keeps all.
	Where string
	// Share keeps this share of the records, by a hash of Seed and id: 0 is all.
	Share float64
	Seed  uint64
	// Limit ends the reading after so many tasks, 1 to SourceLimitMax.
	Limit int
	// Name goes into the data as field "source"; empty is the name of the stream.
	Name string
}

// SourceLimitMax is the most tasks that one source makes.
const SourceLimitMax = 1 << 20

// sourceChunk is how many tasks are added together.
const sourceChunk = 500

// Sourced says what AddFrom did.
type Sourced struct {
	// Read records were read, and Kept are those that became tasks.
	Read, Kept int
	Added
}

// AddFrom adds a task for each record of a stream of the log that passes; the id of the
// task is that of the record, and reading the same again changes nothing. Memory does not
// grow with the stream.
func (s *Store) AddFrom(ctx context.Context, project string, from Source) (sum Sourced, err error) {
	where, err := from.compile()
	if err != nil {
		return sum, err
	}
	scan, err := s.o.Log.Scan(ctx, from.Query)
	if err != nil {
		return sum, fmt.Errorf("source %q: %w", from.Query.Stream, err)
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	var tasks []Task
	flush := func() error {
		added, err := s.Add(ctx, project, tasks)
		sum.New, sum.Same = sum.New+added.New, sum.Same+added.Same
		tasks = tasks[:0]
		return err
	}
	for sum.Kept < from.Limit && scan.Next() {
		sum.Read++
		t, keep, err := from.task(scan.Columns(), scan.Record(), where)
		if err != nil {
			return sum, fmt.Errorf("source %q, record %q: %w", from.Query.Stream, scan.Record().ID, err)
		}
		if !keep {
			continue
		}
		sum.Kept++
		if tasks = append(tasks, t); len(tasks) == sourceChunk {
			if err := flush(); err != nil {
				return sum, err
			}
		}
	}
	if err := scan.Err(); err != nil {
		return sum, fmt.Errorf("source %q: %w", from.Query.Stream, err)
	}
	return sum, flush()
}

func (from *Source) compile() (*vm.Program, error) {
	if from.Limit < 1 || from.Limit > SourceLimitMax {
		return nil, fmt.Errorf("%w source: limit %d is not in 1 to %d", ErrInvalid, from.Limit, SourceLimitMax)
	}
	if !(from.Share >= 0 && from.Share <= 1) {
		return nil, fmt.Errorf("%w source: share %v is not in 0 to 1", ErrInvalid, from.Share)
	}
	if from.Where == "" {
		return nil, nil
	}
	p, err := expr.Compile(from.Where, expr.AsBool(), expr.AllowUndefinedVariables())
	if err != nil {
		return nil, fmt.Errorf("%w source: where: %w", ErrInvalid, err)
	}
	return p, nil
}

// task makes a task of a record, unless it is left out.
func (from *Source) task(columns []offline.Column, r *offline.Record, where *vm.Program) (Task, bool, error) {
	if from.Share > 0 && float64(hashID(from.Seed, r.ID)>>11)/(1<<53) >= from.Share {
		return Task{}, false, nil
	}
	fields := make(map[string]any, len(columns)+3)
	for i, c := range columns {
		if v := fieldOf(r.Values[i]); v != nil {
			fields[c.Name] = v
		}
	}
	at := time.UnixMicro(r.EventTime).UTC()
	fields["id"], fields["event_time"] = r.ID, float64(r.EventTime)/1e6
	if where != nil {
		keep, err := expr.Run(where, fields)
		if err != nil {
			return Task{}, false, fmt.Errorf("where: %w", err)
		}
		if keep != true {
			return Task{}, false, nil
		}
	}
	fields["event_time"], fields["source"] = at.Format(time.RFC3339Nano), from.Query.Stream
	if from.Name != "" {
		fields["source"] = from.Name
	}
	data, err := json.Marshal(fields)
	return Task{ID: string([]byte(r.ID)), Data: data, At: at}, err == nil, err
}

// hashID spreads ids evenly, the same ones alike with every seed.
func hashID(seed uint64, id string) uint64 {
	h := mix(seed)
	for i := range len(id) {
		h = mix(h ^ uint64(id[i]))
	}
	return h
}

// fieldOf is a value as JSON has it, nil if it has none. A text that is itself JSON stays
// a text: what it means is for whoever shows it.
func fieldOf(v offline.Value) any {
	switch v.Type() {
	case offline.TypeInt64:
		return v.Int64()
	case offline.TypeFloat64, offline.TypeFloat32:
		if x := v.Float64(); !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x
		}
		return nil
	case offline.TypeBool:
		return v.Bool()
	case offline.TypeString:
		return string([]byte(v.Text()))
	case offline.TypeBytes:
		return append([]byte(nil), v.Bytes()...)
	case offline.TypeTimestamp:
		return time.UnixMicro(v.Int64()).UTC().Format(time.RFC3339Nano)
	case offline.TypeFloat32List:
		list := make([]any, len(v.Float32List()))
		for i, x := range v.Float32List() {
			if y := float64(x); !math.IsNaN(y) && !math.IsInf(y, 0) {
				list[i] = y
			}
		}
		return list
	}
	return nil
}
