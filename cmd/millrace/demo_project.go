// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/bench/payments"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/orchestrator"
)

//go:embed demoproject/*.yaml
var demoFiles embed.FS

const (
	// demoFile says what world a folder is of. It is written first, so that a folder with it
	// is the demo's, however far it came.
	demoFile = "demo.json"
	// demoHistoryFile has the payments before the demo begins.
	demoHistoryFile = "history.parquet"
	// demoHistoryDays are the days of history, demoWarmDays those of them from which nothing is
	// learnt, since features look back on them. What is played begins on a Thursday, as the
	// monitor's weeks do.
	demoHistoryDays, demoWarmDays = 52, 14
	// demoChangeFirst is the first day, of those that are played, with a pattern that nothing in
	// history was like; demoChangeEvery are the days until the next.
	demoChangeFirst, demoChangeEvery = 14, 42
)

// demoWorld is what is played in a folder. What serves, watches and learns does not read it.
type demoWorld struct {
	Seed      uint64    `json:"seed"`
	Customers int       `json:"customers"`
	Start     time.Time `json:"start"`
	History   int       `json:"history_days"`
	// Data is a file of payments in place of made ones.
	Data string `json:"data,omitempty"`
}

// begin is the first moment that is played.
func (w *demoWorld) begin() time.Time { return w.Start.AddDate(0, 0, w.History) }

// options are those of the generator. The world ends after a century, some days of real time
// at the usual speed.
func (w *demoWorld) options() payments.Options {
	o := payments.Options{Customers: w.Customers, Days: payments.DaysMax, Seed: w.Seed, Start: w.Start}
	o.Changes = payments.Recurring(w.History+demoChangeFirst, demoChangeEvery, o.Days)
	return o
}

// prepare makes the project, or what of it is missing.
func (d *demo) prepare(ctx context.Context) error {
	dir := d.options.dir
	if err := d.claim(); err != nil {
		return err
	}
	replace := strings.NewReplacer(
		"BEGIN", d.world.begin().Format(time.RFC3339), "WARM", d.world.Start.AddDate(0, 0, demoWarmDays).Format(time.RFC3339))
	files, err := fs.ReadDir(demoFiles, "demoproject")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := demoFiles.ReadFile("demoproject/" + f.Name())
		if err != nil {
			return err
		}
		path := filepath.Join(dir, f.Name())
		if _, err := os.Stat(path); err == nil {
			continue // somebody may have changed it, to see what happens
		}
		if err := writeWhole(path, []byte(replace.Replace(string(text)))); err != nil {
			return err
		}
	}
	return d.history(ctx)
}

// claim reads what world the folder is of, or makes it one.
func (d *demo) claim() error {
	o := d.options
	path := filepath.Join(o.dir, demoFile)
	text, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(text, &d.world); err != nil || d.world.Start.IsZero() || d.world.History < 1 {
			return fmt.Errorf("%s: it does not say what world the folder is of; give another folder, or remove this one", path)
		}
		return o.fits(&d.world)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, _ := os.ReadDir(o.dir) // none where there is no folder; MkdirAll tells what is wrong with another
	// A crash may have left the first file without its name.
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == demoFile+".new" })
	if len(entries) > 0 {
		return fmt.Errorf("%s: the folder is not empty and not of a demo: give a new one by --dir, so that nothing of yours is written over", o.dir)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	d.fresh = true
	d.world = demoWorld{Seed: o.seed, Customers: o.customers, History: demoHistoryDays, Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	if o.data != "" {
		if err := d.useData(); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(&d.world); err != nil {
		return err
	}
	return writeWhole(path, text)
}

// fits refuses flags that ask for another world than the folder has.
func (o *demoOptions) fits(w *demoWorld) error {
	var all []error
	differs := func(flag string, other bool, has any) {
		if o.given.Changed(flag) && other {
			all = append(all, fmt.Errorf("--%s: %s goes on with %v; give another --dir for another world", flag, o.dir, has))
		}
	}
	differs("seed", o.seed != w.Seed, w.Seed)
	differs("customers", o.customers != w.Customers, w.Customers)
	differs("data", absolute(o.data) != w.Data, w.Data)
	if len(all) > 0 {
		return usageError{errors.Join(all...)}
	}
	return nil
}

// useData looks at the first payment of the file.
func (d *demo) useData() error {
	d.world.Data = absolute(d.options.data)
	feed, err := d.openData(context.Background(), 0)
	if err != nil {
		return err
	}
	defer feed.close()
	more, err := feed.next()
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if !more {
		return fmt.Errorf("--data: %s has no payments", d.options.data)
	}
	d.world.Start = time.UnixMicro(feed.time()).UTC().Truncate(24 * time.Hour)
	return nil
}

// openData reads the file of payments from a moment on.
func (d *demo) openData(ctx context.Context, from int64) (*feed, error) {
	text, err := demoFiles.ReadFile("demoproject/features.yaml")
	if err != nil {
		return nil, err
	}
	c, err := definition.Parse("features.yaml", text)
	if err != nil {
		return nil, err
	}
	s := c.Source("payments")
	if err := useFile(s, d.world.Data); err != nil {
		return nil, err
	}
	return openFeed(ctx, s, from)
}

// history writes the payments before the demo begins, if they are missing.
func (d *demo) history(ctx context.Context) error {
	path := filepath.Join(d.options.dir, demoHistoryFile)
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.world.Data == "" {
		o := d.world.options()
		o.Days = d.world.History // W3: the beginning of the world
		o.Changes = nil          // W4: which has none yet
		_, err := payments.Write(ctx, path, o, nil)
		return err
	}
	return d.cutData(ctx, path)
}

// cutData copies the file's payments before the demo begins.
func (d *demo) cutData(ctx context.Context, path string) (err error) {
	feed, err := d.openData(ctx, 0)
	if err != nil {
		return err
	}
	defer feed.close()
	columns := make([]source.ParquetColumn, len(feed.source.Fields))
	for i, f := range feed.source.Fields {
		columns[i] = source.ParquetColumn{Name: f.Name, Type: f.Type}
	}
	out, err := source.NewParquetWriter(path, columns, source.WriterOptions{})
	if err != nil {
		return err
	}
	e := &extraction{source: feed.source, out: out, from: 0, to: d.world.begin().UnixMicro()}
	var batch column.Batch
	for {
		more, err := feed.reader.Next(&batch)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && more {
			err = e.write(&batch)
		}
		if err != nil {
			return errors.Join(err, out.Abort())
		}
		if !more {
			return out.Close()
		}
	}
}

// writeWhole writes a file that is there as a whole or not at all.
func writeWhole(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// firstModel runs the pipeline that makes the first model of history, unless there is one.
func (d *demo) firstModel(ctx context.Context, p *project, stderr io.Writer) (err error) {
	if version, err := highestModelVersion(filepath.Join(p.Models, demoModel)); err != nil || version > 0 {
		return err
	}
	began := time.Now()
	host := &taskHost{project: p, by: "demo", now: d.world.begin}
	files, err := loadPipelines(p.Dir, p.Pipelines)
	if err != nil {
		return pipelineMistake(err)
	}
	line := newProgress(stderr)
	options := (&pipelineOptions{}).runnerOptions(host, files)
	options.Observe = func(e orchestrator.Event) {
		if e.Task != "" && !e.Status.Ended() {
			line.set("first model: "+e.Task, e.Done, e.Total)
		}
	}
	runner, err := openRunner(ctx, options)
	if err != nil {
		return err
	}
	defer closing(&err, runner.Close)
	status, err := runner.Run(ctx, demoFirstPipeline, orchestrator.RunOptions{})
	line.clear()
	if err != nil {
		return fmt.Errorf("the first model: %w", pipelineMistake(err))
	}
	version, err := highestModelVersion(filepath.Join(p.Models, demoModel))
	if err != nil {
		return err
	}
	if version == 0 {
		return fmt.Errorf("the first model did not pass its gates: millrace pipeline logs %s evaluate, in %s, says why; another --seed, in another --dir, may do", status.ID, p.Dir)
	}
	if !d.options.headless {
		fmt.Fprintf(d.out, "first model, of %d days of history: made, judged and promoted by the pipeline %q in %v\n", d.world.History, demoFirstPipeline, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

const (
	demoModel         = "fraud"
	demoFirstPipeline = "first"
	demoRetrain       = "retrain"
)
