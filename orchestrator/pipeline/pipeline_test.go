// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const fraud = `
pipelines:
  fraud:
    description: nightly
    parameters: {as_of: {default: now}, days: {default: 30, doc: of history}, mode: {default: fast, choices: [fast, full]}}
    schedule: {cron: "0 3 * * *", timezone: Europe/Berlin, catch_up: last, overlap: skip}
    triggers: [{on: alarm, monitor: fraud_quality}, {on: labels, count: 1000}, {on: file, path: data/new/*.parquet, at_most: 1h}]
    concurrency: 2
    partitions: {by: day, from: 2026-01-01}
    tasks:
      extract: {uses: extract, with: {from: "{{ params.as_of }}", days: "{{ params.days }}"}, outputs: [rows], retries: 3, backoff: 10s, timeout: 10m}
      split: {uses: split, inputs: {rows: extract.rows}, outputs: {train: train.parquet, test: test.parquet}}
      train: {uses: train, inputs: {data: split.train}, with: &settings {trees: 100, deep: [1, {a: 2.5}]}, outputs: [model]}
      evaluate: {uses: evaluate, inputs: {model: train.model, data: split.test}, with: *settings}
      promote: {uses: promote, inputs: {model: train.model}, when: "evaluate.verdict == 'pass'"}
      notify: {uses: notify, when: always}
      custom: {uses: command, with: {command: [x.py, "{{ inputs.data }}", "{{ outputs.result }}", "{{ item }}"]}, inputs: {data: split.test}, outputs: [result], foreach: [a, b, c]}
`

func TestParse(t *testing.T) {
	f, err := Parse("p.yaml", []byte(fraud))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Find("fraud")
	if err != nil {
		t.Fatal(err)
	}
	after := map[string]string{}
	for _, task := range p.Tasks {
		after[task.Name] = strings.Join(task.After, " ")
	}
	want := map[string]string{"extract": "", "split": "extract", "train": "split", "evaluate": "split train", "promote": "train evaluate",
		"notify": "extract split train evaluate promote custom", "custom": "split"}
	if !reflect.DeepEqual(after, want) {
		t.Errorf("tasks wait for\n%v, want\n%v", after, want)
	}
	extract := p.Tasks[0]
	if extract.Retries != 3 || extract.Backoff != 10*time.Second || extract.Timeout != 10*time.Minute || extract.Place != "p.yaml:11:7" {
		t.Errorf("%+v", extract)
	}
	if p.Triggers[2] != (Trigger{On: "file", Path: "data/new/*.parquet", AtMost: time.Hour}) || p.Concurrency != 2 || p.Schedule.Spec.Timezone != "Europe/Berlin" {
		t.Errorf("%+v", p)
	}
	if !reflect.DeepEqual(p.Tasks[3].With, map[string]any{"trees": int64(100), "deep": []any{int64(1), map[string]any{"a": 2.5}}}) {
		t.Errorf("an alias gives %v", p.Tasks[3].With)
	}
	var order []string
	for _, task := range p.Order() {
		order = append(order, task.Name)
	}
	if got := strings.Join(order, " "); got != "extract split train evaluate promote custom notify" {
		t.Errorf("order is %s", got)
	}
	if up := p.Upstream("train"); len(up) != 3 || !up["extract"] {
		t.Errorf("upstream of train: %v", up)
	}
	if down := p.Downstream("evaluate"); len(down) != 3 || !down["promote"] || !down["notify"] {
		t.Errorf("downstream of evaluate: %v", down)
	}
	if _, err := f.Find("fruad"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `is "fraud" meant?`) {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{"p.yaml: the file is empty"}},
		{"pipelines: {p: {tasks: {a: {uses: x}}}}\nmore: 1", []string{`p.yaml:2:1: unknown key "more"`}},
		{"pipelines:\n\tp: 1", []string{"p.yaml:2:", "indent with spaces"}},
		{"a: b: c", []string{"p.yaml:1:", "needs quotes"}},
		{"\xff", []string{"not UTF-8"}},
		{strings.Repeat("[", 200), []string{"nested more than 32 levels deep"}},
		{"pipelines: {p: {tasks: {}}}", []string{"0 tasks, want 1 to 1000"}},
		{"---\npipelines: {p: {tasks: {a: {uses: x}}}}\n---\nb: 1", []string{"a second document"}},
		{`
pipelines:
  p:
    taks: {}
    concurrency: 0
    schedule: {cron: "61 * * * *", overlap: maybe}
    triggers: [{on: moon}, {on: labels}, {on: alarm, severity: bad}]
    partitions: {by: year, from: yesterday}
    parameters: {in: 3, empty: }
    tasks:
      a: {uses: x, retries: -1, timeout: soon, wiht: {}}
      b: {needs: [c], inputs: {x: a}, when: "a.ok &&"}
      B: {uses: x}
      d: {uses: x, with: {v: "{{ params.dys }} {{ nobody.x }}", w: "{{ item", u: "{{ inputs.no }}"}, foreach: []}
      d: {uses: x}
`, []string{
			`5:18: pipelines.p.concurrency: want an integer from 1 to 1024, not "0"`, `unknown key "taks"; is "tasks" meant?`, "61", `overlap is "maybe"`,
			`on is "moon"`, "count is missing", `severity is "bad"`, `by is "year"`, `time "yesterday"`, `the name "in" has a meaning`, "parameter empty has no default",
			"p.yaml:11:29: pipelines.p.tasks.a.retries: want an integer from 0 to 100", "a time such as 30s", `unknown key "wiht"; is "with" meant?`,
			"uses is missing", `no task "c"`, "want TASK.OUTPUT", `expression "a.ok &&"`, `name "B"`, `no parameter "dys"`, `no task "nobody"`, "the {{ has no }}",
			`no input "no"`, "0 items", "the key is here twice",
		}},
		{"pipelines: {p: {tasks: {a: {uses: x, needs: c}, b: {uses: x, needs: a}, c: {uses: x, when: b.ok}}}}", []string{"a cycle: a -> b -> c -> a"}},
		{"pipelines: {p: {tasks: {a: {uses: x, with: {v: '{{ a.b }}'}}}}}", []string{"cannot wait for itself"}},
		{"pipelines: {p: {tasks: {a: {uses: x, outputs: {o: ../up}}}}}", []string{`file name "../up"`}},
		{"a: &x [*x]", []string{"no anchor &x before this"}},
	} {
		f, err := Parse("p.yaml", []byte(c.text))
		if !errors.Is(err, ErrInvalid) || f != nil {
			t.Errorf("%.40q: %v", c.text, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.40q: want %q in\n%v", c.text, want, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fraud))
	f.Add([]byte("a: &x {b: *x}"))
	f.Add([]byte("pipelines: {p: {tasks: {a: {uses: x, when: '((((', foreach: '1..9'}}}}"))
	f.Add([]byte("? [a]\n: b"))
	f.Add([]byte("pipelines: {p: !!binary x, q: >\n  text\n, 1: .inf}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fuzz", data)
		if (file == nil) == (err == nil) {
			t.Fatal("neither a file nor an error, or both")
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		if err == nil {
			for _, p := range file.Pipelines {
				if len(p.Order()) != len(p.Tasks) {
					t.Fatal("the order has not all tasks")
				}
			}
		}
	})
}

func TestHashChangesWithAnything(t *testing.T) {
	parse := func(text string) string {
		f, err := Parse("p", []byte("pipelines: {p: {tasks: {a: {uses: x, with: {v: "+text+"}}}}}"))
		if err != nil {
			t.Fatal(err)
		}
		return f.Pipelines[0].Hash
	}
	if parse("1") == parse("2") || parse("'1'") == parse("1") || parse("1") != parse("1 # a comment\n") {
		t.Error("the hash does not follow the content")
	}
}

func TestExpand(t *testing.T) {
	env := Env{"params": map[string]any{"days": int64(30), "word": "x y", "rate": 0.25}, "item": nil,
		"first": map[string]any{"n": 1e6}, "split": map[string]any{"train": "part"}}
	for text, want := range map[string]any{
		"plain": "plain", "{{ params.days }}": int64(30), "{{params.days * 2}}": 60, "d={{ params.days }}": "d=30", "{{ params.word }}!": "x y!",
		"{{ '}}' }}": "}}", `{{ {"a": {"b": 1}}.a.b }}`: 1, "{{ split.train }}{{ first.n }}": "part1000000", "{{ split('a,b', ',')[1] }}": "b",
		"{{ params.rate }} of": "0.25 of", "[{{ item }}]": "[]",
		`{{ date("2026-03-01") - duration("24h") }} ago`: "2026-02-28T00:00:00Z ago", "{{ [1, 'a'] }} list": `[1,"a"] list`,
	} {
		got, err := Expand(text, env)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %#v, want %#v, %v", text, got, want, err)
		}
	}
	for _, text := range []string{"{{ params.days + params.word }}", "{{ 1..100000000 }}", "{{ now() }}", "{{ }}", "{{ " + strings.Repeat("(", 5000) + " }}", `{{ repeat("x", 100000000) }}`} {
		if v, err := Expand(text, env); err == nil {
			t.Errorf("%.30s gives %.30v", text, v)
		}
	}
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		when string
		ends string // of a and b
		want End
	}{
		{"", "ss", EndSucceeded}, {"", "sf", EndFailed}, {"", "sk", EndSkipped}, {"", "kf", EndFailed},
		{"always", "ff", EndSucceeded}, {"failed", "ss", EndSkipped}, {"failed", "sf", EndSucceeded}, {"failed", "sk", EndSkipped},
		{"succeeded", "ss", EndSucceeded}, {"a.v > 1", "ss", EndSucceeded}, {"a.v > 3", "ss", EndSkipped}, {"a.v > 1", "fs", EndFailed},
		{"b.status == 'failed'", "sf", EndSucceeded}, {"a.none == 1", "ss", EndSkipped}, {"a.none", "ss", EndSkipped},
	} {
		when := ""
		if c.when != "" {
			when = fmt.Sprintf(", when: %q", c.when)
		}
		f, err := Parse("p", []byte("pipelines: {p: {tasks: {a: {uses: x}, b: {uses: x}, c: {uses: x, needs: [a, b]"+when+"}}}}"))
		if err != nil {
			t.Fatal(err)
		}
		ends := map[byte]End{'s': EndSucceeded, 'f': EndFailed, 'k': EndSkipped}
		words := map[byte]string{'s': "succeeded", 'f': "failed", 'k': "skipped"}
		env := Env{"a": map[string]any{"v": 2, "status": words[c.ends[0]]}, "b": map[string]any{"status": words[c.ends[1]]}}
		got, err := f.Pipelines[0].Tasks[2].Decide(env, func(name string) End { return ends[c.ends[name[0]-'a']] })
		if err != nil || got.End != c.want || (got.Reason == "") != (c.want == EndSucceeded) {
			t.Errorf("when %q, %s: %+v, want %d, %v", c.when, c.ends, got, c.want, err)
		}
	}
}

func TestResolve(t *testing.T) {
	f, err := Parse("p", []byte(fraud))
	if err != nil {
		t.Fatal(err)
	}
	p, now := f.Pipelines[0], time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	got, err := p.Resolve(map[string]any{"days": "7", "mode": "full"}, now)
	if want := (map[string]any{"as_of": "2026-02-03T04:05:06Z", "days": int64(7), "mode": "full"}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = p.Resolve(map[string]any{"days": "many", "mode": "slow", "dais": 1}, now)
	for _, want := range []string{`days is "many", want an integer`, "want one of [fast full]", `no parameter "dais"; is "days" meant?`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
}

func TestPartitions(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	for _, c := range []struct {
		by   string
		n    int
		last string
	}{
		{"hour", 31*24 - 1, "2026-03-31T23+02:00"}, // a day of 23 hours
		{"day", 31, "2026-03-31"}, {"week", 5, "2026-03-30"}, {"month", 1, "2026-03"},
	} {
		p := &Partitions{By: c.by, Zone: berlin, From: time.Date(2026, 3, 1, 0, 0, 0, 0, berlin)}
		parts, err := p.Range(time.Time{}, time.Date(2026, 4, 1, 0, 0, 0, 0, berlin))
		if err != nil || len(parts) != c.n || parts[len(parts)-1].Key != c.last {
			t.Errorf("%s: %d parts, %+v, %v", c.by, len(parts), parts[len(parts)-1], err)
		}
		for i := range parts {
			if i > 0 && !parts[i].Start.Equal(parts[i-1].End) {
				t.Errorf("%s: a gap before %s", c.by, parts[i].Key)
			}
			if back, err := p.Parse(parts[i].Key); err != nil || !back.Start.Equal(parts[i].Start) {
				t.Errorf("%s: %q is read as %s, %v", c.by, parts[i].Key, back.Start, err)
			}
		}
	}
}

func TestItemNamesAreDifferentAndSafe(t *testing.T) {
	items := []any{"a", "a/b", "a_b", "", "..", ".", "ä", "ö", strings.Repeat("x", 100), strings.Repeat("x", 101), int64(1), 1.5, true}
	var names []string
	for _, item := range items {
		name := ItemName(item)
		if slices.Contains(names, name) || len(name) > NameLengthMax || strings.ContainsAny(name, "/\\") || strings.Trim(name, ".") == "" {
			t.Errorf("%v is called %q", item, name)
		}
		names = append(names, name)
	}
}

func TestGraph(t *testing.T) {
	f, err := Parse("p", []byte(fraud))
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[Format][]string{
		FormatText:    {"    split", "train <- split [done]", "when always"},
		FormatDOT:     {`"split" -> "train" [label="train"];`, `label="train\ntrain\ndone"`},
		FormatMermaid: {"t_split -->|train| t_train", `t_train["train<br/>train<br/>done"]`},
	} {
		text, err := f.Pipelines[0].Graph(format, func(task string) string {
			if task == "train" {
				return "done"
			}
			return ""
		})
		for _, part := range want {
			if err != nil || !strings.Contains(text, part) {
				t.Errorf("%s: want %q in\n%s, %v", format, part, text, err)
			}
		}
	}
	if _, err := f.Pipelines[0].Graph("png", nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
