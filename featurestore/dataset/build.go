// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// build is one run of Build.
type build struct {
	o       Options
	service *definition.Service
	// from is the source of the labels, nil for a file, whose fields and renamed columns
	// are the others.
	from    *definition.Source
	fields  []definition.Field
	renamed map[string]string

	labels *labels
	engine *engine
	events *events
	output *output
	before uint64 // the place in the log that was read up to
	rows   int64  // written
}

// Build makes a training set: for each row of the labels the features of a service as they
// were known at the row's time. It returns the manifest, which it has also written to
// Output + ManifestSuffix.
//
// Errors wrap ErrOptions for what is asked wrongly, and those of package source for
// inputs.
func Build(ctx context.Context, o Options) (*Manifest, error) {
	b, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.engine.close()
	if err := b.make(ctx); err != nil {
		return nil, err
	}
	if b.o.spilled != nil {
		b.o.spilled(b.engine.store.end.Load())
	}
	return b.manifest(ctx)
}

// make makes the training set.
func (b *build) make(ctx context.Context) error {
	if err := b.read(ctx); err != nil {
		return err
	}
	err := b.engine.compute(ctx, func(done, total int) { b.o.Progress(int64(done), int64(total), "compute") })
	if err != nil {
		return err
	}
	return b.write(ctx)
}

// prepare checks the options and finds the columns.
func prepare(ctx context.Context, o Options) (*build, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Progress = oneAtATime(o.Progress)
	b := &build{o: o, service: o.Catalog.Service(o.Service), from: o.Catalog.Source(o.Labels.Source)}
	if err := b.findFields(ctx); err != nil {
		return nil, err
	}
	var err error
	if b.labels, err = newLabels(&b.o, b.service, b.from, b.fields); err != nil {
		return nil, err
	}
	b.engine, err = newEngine(o.Catalog, b.service, engineOptions{workers: o.Workers, memoryMax: o.MemoryMax, tempDir: o.TempDir,
		parts: o.parts, hindsight: o.Hindsight, asOf: o.asOf(), logged: o.Log != nil, extra: b.labels.arrange()})
	if err != nil {
		return nil, err
	}
	b.events = &events{engine: b.engine, full: o.Catalog, log: o.Log, inputs: !o.NoInputs, until: b.labels.to,
		badRowsMax: o.BadRowsMax, refused: new(refusals)}
	if b.output, err = newOutput(o.Catalog, b.service, &b.o, b.labels); err != nil {
		return nil, err
	}
	return b, b.events.check(b.from)
}

// oneAtATime lets many goroutines report progress.
func oneAtATime(report func(done, total int64, phase string)) func(done, total int64, phase string) {
	var mu sync.Mutex
	return func(done, total int64, phase string) {
		mu.Lock()
		defer mu.Unlock()
		report(done, total, phase)
	}
}

// findFields finds the columns that rows have. Those of a file have the types found in it,
// but for keys, request fields and time, whose types are known.
func (b *build) findFields(ctx context.Context) error {
	if b.from != nil {
		b.fields = b.from.Fields
		return nil
	}
	in := b.o.Labels
	fields, err := source.Infer(ctx, in.Format, in.Path)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	b.renamed = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(in.Columns)) {
		given := in.Columns[name]
		b.renamed[name] = given
		i := slices.IndexFunc(fields, func(f definition.Field) bool { return f.Name == given || strings.HasSuffix(given, "("+f.Name+")") })
		if i < 0 {
			return fmt.Errorf("%w: labels: columns: %s: there is no column %s in %s; there are %s", ErrOptions, name, given, in.Path, fieldNames(fields))
		}
		fields[i].Name = name
	}
	known := b.knownTypes()
	for i := range fields {
		if t, ok := known[fields[i].Name]; ok {
			fields[i].Type = t
		}
	}
	b.fields = fields
	return nil
}

// knownTypes are those of columns that the service or the options say.
func (b *build) knownTypes() map[string]column.Type {
	known := map[string]column.Type{}
	for _, e := range b.service.Entities {
		known[e.Key] = e.Type
	}
	for _, f := range b.service.Request {
		known[f.Name] = f.Type
	}
	time := b.o.Labels.Time
	if time == "" && b.service.Time < 0 {
		time = "event_timestamp"
	}
	if time != "" {
		known[time] = column.Timestamp
	}
	return known
}

// read reads labels and events.
func (b *build) read(ctx context.Context) error {
	if b.o.Log != nil {
		b.before = b.o.Log.Next()
	}
	if b.from == nil {
		return b.readFile(ctx)
	}
	if !b.several() {
		return b.events.read(ctx, b.from, func(slice int, rows *column.Batch) error { return b.take(rows, nil, slice, 0) }, nil)
	}
	r, _, _ := b.events.router(b.from)
	c := newCandidates(b.engine, r, b.labels, b.o.parts)
	c.drop = func(time bool) {
		b.labels.count.seen.Add(1)
		if time {
			b.labels.count.dropped[notArrived].Add(1)
		} else {
			b.labels.count.dropped[noTime].Add(1)
		}
	}
	projected, err := newLabels(&b.o, b.service, c.source, c.source.Fields)
	if err != nil {
		return err
	}
	err = b.events.read(ctx, b.from, func(slice int, rows *column.Batch) error { return c.rows(slice, b.from, rows) }, c.log)
	if err != nil {
		return err
	}
	projected.arrange()
	projected.count = b.labels.count
	b.labels = projected
	return c.decide(ctx, b.o.Workers, func(rows *column.Batch, unknown []bool, dropped, slice, part int) error {
		b.labels.count.seen.Add(int64(dropped))
		b.labels.count.dropped[duplicate].Add(int64(dropped))
		return b.take(rows, unknown, slice, part)
	})
}

// several says that the same event may be read more than once.
func (b *build) several() bool {
	s := b.from
	return b.o.Log != nil || s.ID >= 0 && len(s.Inputs) > 0 && (len(s.Inputs) > 1 || strings.ContainsAny(s.Inputs[0].Path, "*?["))
}

// readFile reads labels from a file.
func (b *build) readFile(ctx context.Context) error {
	in := &b.o.Labels
	r, err := source.OpenFile(ctx, in.Format, in.Path, b.fields, source.Options{BadRowsMax: b.o.BadRowsMax, Columns: b.renamed, BatchRows: sliceRows})
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	defer r.Close()
	err = r.ReadParallel(b.o.Workers, func(slice int, rows *column.Batch) error { return b.take(rows, nil, slice, 0) })
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	b.events.note(SourceRead{Rows: r.Rows(), BadRows: r.BadCount(), bad: r.Bad()})
	return b.events.read(ctx, nil, nil, nil)
}

// take takes rows of the labels.
func (b *build) take(rows *column.Batch, unknown []bool, slice, part int) error {
	a := b.engine.asker()
	defer a.giveBack()
	empty(a.batch)
	b.labels.take(a.batch, rows, unknown)
	b.o.Progress(b.labels.count.seen.Load(), 0, "read")
	return a.add(a.batch, slice, part)
}

// write assembles the vectors and writes them.
func (b *build) write(ctx context.Context) error {
	sink, err := b.sink()
	if err != nil {
		return err
	}
	defer sink.Abort()
	done, total := int64(0), int64(0)
	for _, batch := range b.engine.mu.batches {
		total += int64(batch.rows)
	}
	spare := sync.Pool{New: func() any { return b.output.newBatch() }}
	err = assemble(ctx, b.engine, func(from *assembled) (*column.Batch, error) {
		to := spare.Get().(*column.Batch)
		empty(to)
		b.output.fill(to, from)
		return to, nil
	}, func(batch *column.Batch) error {
		done += int64(batch.Rows)
		b.o.Progress(done, total, "write")
		err := sink.Write(batch)
		spare.Put(batch)
		return err
	})
	if err != nil {
		return err
	}
	b.rows = sink.Rows()
	return sink.Close()
}
