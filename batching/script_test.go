// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "record the output of the scripts in testdata instead of checking it")

// TestScripts drives the core by the scripts in testdata. A script is blocks of
// commands, a line of dashes and the output they must have, up to an empty line:
//
//	new rows=8              a core with these options (see newScripted)
//	learn 4 rows 2ms        what a seed run has shown; or "learn 9 times 4 rows 2ms"
//	doubt 100               as many decisions were made on what was learned
//	at 5ms                  the time of all that follows; no step is taken
//	arrive a rows=2 ...     an item is handed over (see arrive)
//	cancel a                its caller no longer wants it
//	finish 0                instance 0 is done
//	tick                    time has passed
//	close                   no more items
//	stats                   counters that are not zero
//
// Each step prints its actions, then what is queued and when the core wants to be
// woken. Read the difference before keeping what -rewrite has recorded.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{t: t, items: map[string]*Item{}}
	var replayed []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		input, want, _ := strings.Cut(block, "----")
		input = strings.TrimRight(input, "\n")
		var out strings.Builder
		for line := range strings.Lines(input) {
			s.command(&out, strings.TrimSpace(line))
		}
		got := strings.TrimRight(out.String(), "\n")
		if want = strings.Trim(want, "\n"); got != want && !*rewrite {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", input, got, want)
		}
		if got != "" {
			input += "\n----\n" + got
		}
		replayed = append(replayed, input)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(strings.Join(replayed, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// scripted is a core under the control of a script.
type scripted struct {
	t     *testing.T
	core  *core
	now   int64
	items map[string]*Item
}

func (s *scripted) command(out *strings.Builder, line string) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	args := words[1:]
	switch words[0] {
	case "new":
		s.newScripted(args)
	case "learn":
		s.learn(args)
	case "doubt":
		s.core.latency.decisions += uint64(s.number(args[0]))
	case "at":
		s.now = int64(s.duration(args[0]))
	case "arrive":
		s.step(out, line, &event{kind: eventArrive, item: s.newItem(args)})
	case "cancel":
		c := &call{err: context.Canceled}
		s.step(out, line, &event{kind: eventCancel, item: s.items[args[0]], call: c})
	case "finish":
		s.step(out, line, &s.core.instances[s.number(args[0])].finish)
	case "tick":
		s.step(out, line, &event{kind: eventTick})
	case "close":
		s.step(out, line, &event{kind: eventClose})
	case "stats":
		c := s.core.counters
		fmt.Fprintf(out, "queue full %d, deadline missed %d, timed out %d, cancelled %d, delayed %d\n",
			c.queueFull, c.deadlineMissed, c.timedOut, c.cancelled, c.delayed)
		for _, r := range Reasons() {
			if n := c.reasons[r]; n.Batches > 0 {
				fmt.Fprintf(out, "%v: %d batches, %d rows\n", r, n.Batches, n.Rows)
			}
		}
	default:
		s.t.Fatalf("unknown command %q", line)
	}
}

func (s *scripted) learn(args []string) {
	times := 1
	if args[1] == "times" {
		times, args = s.number(args[0]), args[2:]
	}
	for range times {
		s.core.latency.observe(s.number(args[0]), int64(s.duration(args[2])))
	}
}

// step takes one step and prints it.
func (s *scripted) step(out *strings.Builder, line string, e *event) {
	var acts actions
	e.at = s.now
	s.core.step(e, &acts)
	fmt.Fprintf(out, "> %s\n", line)
	for it := acts.answered.first; it != nil; it = it.links[linkQueue].next {
		answer := "done"
		if it.Err != nil {
			answer = it.Err.Error()
		}
		fmt.Fprintf(out, "answer %s: %s\n", s.name(it), answer)
	}
	for inst := acts.runs; inst != nil; inst = inst.nextRun {
		fmt.Fprintf(out, "run on %d:", inst.index)
		for _, it := range inst.batch {
			fmt.Fprintf(out, " %s", s.name(it))
		}
		fmt.Fprintf(out, " (%d rows, %v)\n", inst.rows, inst.reason())
	}
	if acts.drained {
		fmt.Fprintln(out, "drained")
	}
	if s.core.queue.items > 0 {
		fmt.Fprintf(out, "queued: %d items, %d rows", s.core.queue.items, s.core.queue.rows)
		if at := s.core.wake(); at != never {
			fmt.Fprintf(out, ", wake at %v", time.Duration(at))
		}
		fmt.Fprintln(out)
	}
}

func (inst *instance) reason() Reason { return inst.batch[0].Reason }

// newScripted makes the core; rows is MaxRows, bound is QueueItemsMax, and timeout,
// override, delaying and size are the queue policy, of one level where "2." precedes.
func (s *scripted) newScripted(args []string) {
	o := Options{LevelPolicies: map[int]QueuePolicy{}}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "rows":
			o.MaxRows = s.number(value)
		case "instances":
			o.Instances = s.number(value)
		case "preferred":
			for size := range strings.SplitSeq(value, ",") {
				o.PreferredSizes = append(o.PreferredSizes, s.number(size))
			}
		case "delay":
			o.MaxQueueDelay = s.duration(value)
		case "ordered":
			o.PreserveOrdering = true
		case "levels":
			o.PriorityLevels = s.number(value)
		case "default":
			o.DefaultPriority = s.number(value)
		case "objective":
			o.LatencyObjective = s.duration(value)
		case "bound":
			o.QueueItemsMax = s.number(value)
		default:
			level, field, ok := strings.Cut(key, ".")
			if !ok {
				s.policy(&o.Policy, key, value)
				continue
			}
			p := o.LevelPolicies[s.number(level)]
			s.policy(&p, field, value)
			o.LevelPolicies[s.number(level)] = p
		}
	}
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		s.t.Fatal(err)
	}
	s.core = newCore(o, nil)
	s.now, s.items = 0, map[string]*Item{}
}

func (s *scripted) policy(p *QueuePolicy, key, value string) {
	switch key {
	case "timeout":
		p.DefaultTimeout = s.duration(value)
	case "override":
		p.AllowTimeoutOverride = true
	case "delaying":
		p.Action = TimeoutDelay
	case "size":
		p.MaxQueueSize = s.number(value)
	default:
		s.t.Fatalf("unknown option %q", key)
	}
}

// newItem makes an item of one row unless told otherwise; the deadline is a time.
func (s *scripted) newItem(args []string) *Item {
	it := &Item{Rows: 1}
	s.items[args[0]] = it
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "rows":
			it.Rows = s.number(value)
		case "group":
			it.Group = uint64(s.number(value))
		case "priority":
			it.Priority = s.number(value)
		case "deadline":
			it.Deadline = int64(s.duration(value))
		case "timeout":
			it.Timeout = s.duration(value)
		default:
			s.t.Fatalf("unknown field %q", key)
		}
	}
	return it
}

func (s *scripted) name(it *Item) string {
	for name, known := range s.items {
		if known == it {
			return name
		}
	}
	return "?"
}

func (s *scripted) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scripted) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
