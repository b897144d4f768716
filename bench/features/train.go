// SPDX-License-Identifier: Apache-2.0

package features

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/bench/payments"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// Dataset measures the command that makes a training set of all payments with the 15
// published features: seconds, the median of some runs, and the most memory in GiB.
func Dataset(ctx context.Context, l *Lab) ([]float64, any, error) {
	dir, err := os.MkdirTemp(l.Folder, "dataset-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	data, origin, err := l.payments(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	definitions := filepath.Join(dir, "features.yaml")
	inputs := fmt.Sprintf("    inputs:\n      - {format: parquet, path: %q}", data)
	if err := os.WriteFile(definitions, fmt.Appendf(nil, paymentsSource, inputs+"\n"+cardViews), 0o644); err != nil {
		return nil, nil, err
	}
	var seconds, memory []float64
	for round := range l.sizes().rounds {
		l.progress("training set, run %d", round+1)
		took, peak, err := l.run(ctx, "features", "dataset", "--definitions", definitions, "--service", "fraud",
			"--labels", "source:payments", "--label", "is_fraud", "--output", filepath.Join(dir, "out.parquet"))
		if err != nil {
			return nil, nil, err
		}
		seconds, memory = append(seconds, took.Seconds()), append(memory, float64(peak)/(1<<30))
	}
	return []float64{median(seconds), slicesMax(memory)}, map[string]any{"seconds": seconds, "peak GiB": memory, "data": origin}, nil
}

// payments is the file to use: the one given, or a generated world of its size.
func (l *Lab) payments(ctx context.Context, dir string) (path, origin string, err error) {
	if l.Data != "" && !l.Quick {
		path, err = filepath.Abs(l.Data)
		return path, "card-transactions/transactions.parquet, 1,754,155 payments", err
	}
	path = filepath.Join(dir, "payments.parquet")
	o := payments.Options{Days: 183, Customers: 5000, Terminals: 10000, Seed: 1}
	if l.Quick {
		o.Days, o.Customers, o.Terminals = 20, 200, 300
	}
	l.progress("generating payments of %d days", o.Days)
	w, err := payments.Write(ctx, path, o, nil)
	return path, fmt.Sprintf("generated, %d payments", w.Payments), err
}

// run runs the program under test and returns its time and its peak of memory.
func (l *Lab) run(ctx context.Context, args ...string) (time.Duration, int64, error) {
	c := exec.CommandContext(ctx, l.Binary, args...)
	var log tail
	c.Stdout, c.Stderr = &log, &log
	began := time.Now()
	if err := c.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- watchPeak(c.Process.Pid, ended) }()
	err := c.Wait()
	took := time.Since(began)
	close(ended)
	if err != nil {
		return 0, 0, fmt.Errorf("%v: %w; it wrote:\n%s", c.Args, err, &log)
	}
	return took, <-peak, nil
}

// watchPeak reads the most memory that a process held until it ends. What the system
// tells after the end would count what this process held when it started the other.
func watchPeak(pid int, ended <-chan struct{}) (peak int64) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	for {
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "VmHWM:"); ok && err == nil {
				if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil {
					peak = max(peak, kb<<10)
				}
			}
		}
		select {
		case <-ended:
			return peak
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func slicesMax(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	return most
}

// The join's sides.
const joinDefinitions = `entities:
  customer: {key: key, type: int64}
sources:
  rows:
    timestamp: ts
    fields: {key: int64, ts: timestamp, value: float64}
    inputs:
      - {format: parquet, path: rows.parquet}
lookups:
  latest: {entity: customer, source: rows, fields: [value]}
services:
  joined:
    features:
      - {name: value, from: latest.value}
`

type joinLabel struct {
	Key int64     `parquet:"key"`
	TS  time.Time `parquet:"ts,timestamp(microsecond)"`
}

type joinRow struct {
	Key   int64     `parquet:"key"`
	TS    time.Time `parquet:"ts,timestamp(microsecond)"`
	Value float64   `parquet:"value"`
}

// Join compares the point-in-time join of a million labels with five million rows with
// DuckDB's ASOF JOIN on the same files, both to a Parquet file: our time over its. Ours
// includes the manifest, with the hashes of all files. Both run in processes that were
// started before.
func Join(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	dir, err := os.MkdirTemp(l.Folder, "join-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	labels, rows, keys := 1_000_000, 5_000_000, 100_000
	if l.Quick {
		labels, rows, keys = 1000, 5000, 100
	}
	l.progress("writing %d labels and %d rows of %d keys", labels, rows, keys)
	if err := writeJoin(dir, labels, rows, keys); err != nil {
		return nil, nil, err
	}
	peer, err := startDuck(ctx, l.Python, dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	var ratios, ours, theirs []float64
	for round := range l.sizes().rounds + 3 {
		l.progress("point-in-time join, round %d", round)
		took, err := join(ctx, dir)
		if err != nil {
			return nil, nil, err
		}
		other, err := peer.join()
		if err != nil {
			return nil, nil, err
		}
		if round > 0 {
			ours, theirs, ratios = append(ours, took.Seconds()), append(theirs, other), append(ratios, took.Seconds()/other)
		}
	}
	if err := peer.compare(); err != nil {
		return nil, nil, err
	}
	return []float64{median(ratios)}, map[string]any{"ratios": ratios, "our seconds": ours, "DuckDB's seconds": theirs, "DuckDB": peer.version, "labels": labels, "rows": rows, "keys": keys}, nil
}

// join makes the training set that is nothing but the join.
func join(ctx context.Context, dir string) (time.Duration, error) {
	catalog, err := definition.Load(filepath.Join(dir, "features.yaml"))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = dataset.Build(ctx, dataset.Options{
		Catalog: catalog, Service: "joined", Output: filepath.Join(dir, "ours.parquet"), Workers: 2,
		Labels: dataset.Labels{Path: filepath.Join(dir, "labels.parquet"), Format: definition.Parquet, Time: "ts"},
	})
	return time.Since(began), err
}

// writeJoin writes both sides, each sorted by time as history is.
func writeJoin(dir string, labels, rows, keys int) error {
	if err := os.WriteFile(filepath.Join(dir, "features.yaml"), []byte(joinDefinitions), 0o644); err != nil {
		return err
	}
	source := rand.New(rand.NewPCG(3, 4))
	begin, span := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), 180*24*time.Hour
	at := func(i, n int) time.Time {
		return begin.Add(time.Duration(float64(span) * float64(i) / float64(n))).Truncate(time.Microsecond)
	}
	l := make([]joinLabel, labels)
	for i := range l {
		l[i] = joinLabel{Key: source.Int64N(int64(keys)), TS: at(i, labels)}
	}
	if err := parquet.WriteFile(filepath.Join(dir, "labels.parquet"), l, parquet.MaxRowsPerRowGroup(1<<17), parquet.Compression(&parquet.Snappy)); err != nil {
		return err
	}
	r := make([]joinRow, rows)
	for i := range r {
		r[i] = joinRow{Key: source.Int64N(int64(keys)), TS: at(i, rows), Value: source.Float64()}
	}
	return parquet.WriteFile(filepath.Join(dir, "rows.parquet"), r, parquet.MaxRowsPerRowGroup(1<<17), parquet.Compression(&parquet.Snappy))
}

// duckScript joins at every line it reads, and prints how long it took.
const duckScript = `
import sys, time, duckdb
dir = sys.argv[1]
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET enable_progress_bar = false")
print(duckdb.__version__, flush=True)
for line in sys.stdin:
    if line.strip() == "compare":
        n, bad = db.execute(f"""select count(*), count(*) filter (where a.value is distinct from b.value)
            from (select key, ts, value, row_number() over (partition by key, ts order by value) i from '{dir}/ours.parquet') a
            full join (select key, ts, value, row_number() over (partition by key, ts order by value) i from '{dir}/theirs.parquet') b using (key, ts, i)""").fetchone()
        print(n, bad, flush=True)
        continue
    began = time.perf_counter()
    db.execute(f"""copy (select l.key, l.ts, r.value from '{dir}/labels.parquet' l
        asof left join '{dir}/rows.parquet' r on l.key = r.key and l.ts >= r.ts)
        to '{dir}/theirs.parquet' (format parquet, compression snappy)""")
    print(time.perf_counter() - began, flush=True)
`

// duck is the peer's process.
type duck struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	version string
}

func startDuck(ctx context.Context, python, dir string) (*duck, error) {
	if python == "" {
		return nil, errors.New("no Python with the package duckdb; scripts/fetch-duckdb.sh fetches one")
	}
	d := &duck{command: exec.CommandContext(ctx, python, "-c", duckScript, dir)}
	d.command.Stderr = os.Stderr
	var err error
	if d.in, err = d.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewReader(out)
	if err := d.command.Start(); err != nil {
		return nil, err
	}
	d.version, err = d.line()
	return d, err
}

func (d *duck) line() (string, error) {
	line, err := d.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (d *duck) ask(what string) (string, error) {
	if _, err := fmt.Fprintln(d.in, what); err != nil {
		return "", err
	}
	return d.line()
}

// join returns the seconds of one join.
func (d *duck) join() (float64, error) {
	line, err := d.ask("join")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(line, 64)
}

// compare holds both outputs to each other.
func (d *duck) compare() error {
	line, err := d.ask("compare")
	if err != nil {
		return err
	}
	var rows, differ int
	if _, err := fmt.Sscan(line, &rows, &differ); err != nil {
		return err
	}
	if differ != 0 {
		return fmt.Errorf("%d of %d joined rows differ from DuckDB's", differ, rows)
	}
	return nil
}

func (d *duck) stop() error { return errors.Join(d.in.Close(), d.command.Wait()) }
