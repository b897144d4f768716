// SPDX-License-Identifier: Apache-2.0

package features

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// monitoredProject is a project whose decisions are watched: windows that close now and
// then, so that their tests are part of what is measured, and labels that are joined.
const monitoredProject = decideProject + `feedback: [feedback.yaml]
monitors: [monitors.yaml]
`

const monitoredFeedback = `labels:
  fraud: {decision: payment, name: is_fraud, type: bool, window: 1h, silence: negative}
`

const monitoredMonitors = `monitors:
  fraud:
    decision: payment
    label: fraud
    reference: {file: reference.parquet, score: score, label: label}
    windows: [1m, 1h]
    lateness: 1s
`

// Monitored compares decisions per second of two servers: one whose decisions a monitor
// watches, over one without. The value is the median ratio of unary calls with 32 in
// flight. How far behind the log the monitor was is in the details; it is up to date again
// before the other server is measured.
func Monitored(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	var servers [2]*child
	var clients [2]*deciders
	for i, watched := range []bool{false, true} {
		dir, err := l.monitoredProject(ctx, watched)
		if err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(dir)
		server, conn, err := l.serve(ctx, "up", dir, "--replay=false")
		if err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, conn.Close(), server.stop()) }()
		d := &deciders{decisions: millracev1.NewDecisionsClient(conn), models: inference.NewGRPCInferenceServiceClient(conn)}
		d.next.Store(time.Now().UnixNano())
		if err := server.await(ctx, d.decide); err != nil {
			return nil, nil, err
		}
		servers[i], clients[i] = server, d
	}
	var ratios, without, with, behind []float64
	var cpu [2]float64 // of the rounds that count, as are the decisions
	var decisions [2]int64
	for round := range 2*l.sizes().rounds + 1 {
		var rates [2]float64
		if round == 1 {
			for i := range servers {
				cpu[i] = -servers[i].cpu()
				decisions[i] = -clients[i].next.Load()
			}
		}
		for turn := range 2 {
			i := (round + turn) % 2
			l.progress("decisions with a monitor over without, round %d", round)
			if rates[i], _, err = closedLoop(ctx, 32, l.sizes().round, func(ctx context.Context, _ int) error { return clients[i].decide(ctx) }); err != nil {
				return nil, nil, err
			}
			if i == 1 {
				lag, err := servers[1].caughtUp(ctx)
				if err != nil {
					return nil, nil, err
				}
				behind = append(behind, lag)
			}
		}
		if round > 0 { // the first warms up
			ratios, without, with = append(ratios, rates[1]/rates[0]), append(without, rates[0]), append(with, rates[1])
		}
	}
	for i := range servers {
		cpu[i] += servers[i].cpu()
		decisions[i] += clients[i].next.Load()
	}
	return []float64{median(ratios)}, map[string]any{
		"processor time of the server a decision without and with, µs, with all that it does beside": []float64{1e6 * cpu[0] / float64(decisions[0]), 1e6 * cpu[1] / float64(decisions[1])},
		"load": "unary, 32 in flight", "ratios": ratios, "decisions per second without": without, "decisions per second with": with,
		"records that the monitor was behind at the end of a round": behind,
	}, nil
}

// monitoredProject is decideProject, watched or not, with a reference drawn at random.
func (l *Lab) monitoredProject(ctx context.Context, watched bool) (string, error) {
	dir, err := l.decideProject(ctx)
	if err != nil {
		return dir, err
	}
	files := map[string]string{"millrace.yaml": decideProject + "feedback: [feedback.yaml]\n", "feedback.yaml": monitoredFeedback}
	if watched {
		files = map[string]string{"millrace.yaml": monitoredProject, "feedback.yaml": monitoredFeedback, "monitors.yaml": monitoredMonitors}
		if err := writeReference(filepath.Join(dir, "reference.parquet"), 20_000); err != nil {
			return dir, err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return dir, err
		}
	}
	moved := dir + "-" + strconv.FormatBool(watched) // the next world has the same folder
	return moved, os.Rename(dir, moved)
}

// writeReference writes rows of the columns of cardViews' service, with scores and labels.
func writeReference(path string, rows int) error {
	names := []string{"amount", "during_weekend", "during_night", "count_1d", "mean_1d", "count_7d", "mean_7d", "count_30d", "mean_30d",
		"terminal__count_1d", "terminal__risk_1d", "terminal__count_7d", "terminal__risk_7d", "terminal__count_30d", "terminal__risk_30d", "score", "label"}
	group := parquet.Group{}
	for i, name := range names {
		if strings.HasPrefix(name, "count_") {
			names[i] = "customer__" + name
		}
		group[names[i]] = parquet.Leaf(parquet.DoubleType)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	schema := parquet.NewSchema("reference", group)
	w := parquet.NewGenericWriter[map[string]any](f, schema)
	r := rand.New(rand.NewPCG(1, 1))
	for range rows {
		row := map[string]any{}
		for _, name := range names {
			row[name] = math.Floor(1000*r.Float64()) / 10
		}
		score := r.Float64()
		row["score"], row["label"] = score, 0.0
		if r.Float64() < score*score {
			row["label"] = 1.0
		}
		if _, err := w.Write([]map[string]any{row}); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Close(), f.Close())
}

// cpu is the processor time that the server has taken, in seconds; 0 where the system does
// not tell it as Linux does, proc_pid_stat(5).
func (c *child) cpu() float64 {
	const ticks = 100 // a second, of what the kernel tells programs
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
	if err != nil {
		return 0
	}
	_, behind, _ := strings.Cut(string(text), ") ") // the name may have spaces
	fields := strings.Fields(behind)
	if len(fields) < 13 {
		return 0
	}
	user, errUser := strconv.ParseFloat(fields[11], 64)
	system, errSystem := strconv.ParseFloat(fields[12], 64)
	if errUser != nil || errSystem != nil {
		return 0
	}
	return (user + system) / ticks
}

// caughtUpMax bounds how long a monitor may take to read what was logged in a round.
const caughtUpMax = time.Minute

// caughtUp says how many records the server's monitor had not read, and waits until it has.
func (c *child) caughtUp(ctx context.Context) (behind float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, caughtUpMax)
	defer cancel()
	for first := true; ; first = false {
		watching, lag, err := c.lag(ctx)
		if err != nil {
			return 0, err
		}
		if first {
			behind = lag
		}
		if watching == 1 && lag == 0 {
			return behind, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("the monitor is %v records behind, watching %v: %w\n%s", lag, watching == 1, ctx.Err(), c.log.String())
		}
	}
}

// lag scrapes whether the monitor watches and how many records it has not read.
func (c *child) lag(ctx context.Context) (watching, lag float64, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, 0, err
	}
	defer a.Body.Close()
	found := map[string]float64{}
	for lines := bufio.NewScanner(a.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		if strings.HasPrefix(name, "millrace_monitor_") {
			if found[name], err = strconv.ParseFloat(value, 64); err != nil {
				return 0, 0, err
			}
		}
	}
	lag, there := found["millrace_monitor_lag_records"]
	if !there {
		return 0, 0, errors.New("the server has no metrics of a monitor")
	}
	return found["millrace_monitor_watching"], lag, nil
}
