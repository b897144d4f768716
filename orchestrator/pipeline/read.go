// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/schedule"
)

// reader builds pipelines from the values of a file.
type reader struct{ yamlReader }

func (r *reader) bad(v *value, format string, args ...any) {
	r.fail(v.line, v.column, v.path, format, args...)
}

// Load reads a file.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load pipelines: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, FileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("load pipelines: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the content of a file. The name is for errors; they are Mistakes.
func Parse(name string, data []byte) (*File, error) {
	r := &reader{yamlReader{file: name}}
	f := &File{Name: name}
	root := r.parse(data)
	if root == nil && len(r.mistakes) == 0 {
		r.fail(0, 0, "", "the file is empty, want pipelines:")
	}
	if root != nil {
		o := r.object(root)
		if v := o.get("pipelines"); v != nil {
			f.Pipelines = r.pipelines(v)
		} else {
			r.bad(root, "pipelines is missing")
		}
		o.done()
	}
	if len(r.mistakes) > 0 {
		slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, slices.Compact(r.mistakes)
	}
	return f, nil
}

func (r *reader) pipelines(v *value) (all []*Pipeline) {
	o := r.object(v)
	if len(o.v.keys) > PipelinesMax {
		r.bad(v, "%d pipelines, at most %d are allowed", len(o.v.keys), PipelinesMax)
		return nil
	}
	for i, k := range o.v.keys {
		if r.name(k, v.path) {
			all = append(all, r.pipeline(k.name, o.v.items[i]))
		}
	}
	return all
}

func (r *reader) pipeline(name string, v *value) *Pipeline {
	o := r.object(v)
	p := &Pipeline{Name: name, Description: o.text("description"), Concurrency: o.integer("concurrency", 1, ConcurrencyMax)}
	if ps := o.get("parameters"); ps != nil {
		p.Parameters = r.parameters(ps)
	}
	if s := o.get("schedule"); s != nil {
		p.Schedule = r.schedule(s)
	}
	if t := o.get("triggers"); t != nil {
		p.Triggers = r.triggers(t)
	}
	if d := o.get("partitions"); d != nil {
		p.Partitions = r.partitions(d)
	}
	tasks := o.get("tasks")
	if tasks == nil {
		r.bad(o.v, "tasks is missing")
	} else {
		r.tasks(p, tasks)
	}
	o.done()
	if p.Schedule != nil || len(p.Triggers) > 0 {
		for _, parameter := range p.Parameters {
			if parameter.Default == nil {
				r.bad(v, "parameter %s has no default, which a schedule or a trigger needs", parameter.Name)
			}
		}
	}
	data, err := json.Marshal(v.plain())
	if err != nil && len(r.mistakes) == 0 {
		r.bad(v, "%v", err)
	}
	sum := sha256.Sum256(data)
	p.Hash = hex.EncodeToString(sum[:8])
	return p
}

func (r *reader) parameters(v *value) (all []Parameter) {
	o := r.object(v)
	if len(o.v.keys) > ParametersMax {
		r.bad(v, "%d parameters, at most %d are allowed", len(o.v.keys), ParametersMax)
		return nil
	}
	for i, k := range o.v.keys {
		if !r.name(k, v.path) {
			continue
		}
		p, item := Parameter{Name: k.name}, o.v.items[i]
		if item.kind == scalarKind && item.scalar != nil { // days: 30
			p.Default = r.scalarValue(item)
			all = append(all, p)
			continue
		}
		if item.kind == mappingKind {
			po := r.object(item)
			p.Doc = po.text("doc")
			if d := po.get("default"); d != nil {
				p.Default = r.scalarValue(d)
			}
			if c := po.get("choices"); c != nil {
				for _, choice := range c.items {
					p.Choices = append(p.Choices, r.scalarValue(choice))
				}
				if len(p.Choices) == 0 || p.Default != nil && !slices.Contains(p.Choices, p.Default) {
					r.bad(c, "want a list of values, the default among them")
				}
			}
			po.done()
		} else if item.scalar != nil || item.kind == listKind {
			r.bad(item, "want a default value or a mapping, not %s", describe(item))
		}
		all = append(all, p)
	}
	return all
}

func (r *reader) schedule(v *value) *schedule.Schedule {
	o := r.object(v)
	spec := schedule.Spec{
		Cron: o.required("cron"), Timezone: o.text("timezone"),
		CatchUp: schedule.CatchUp(o.text("catch_up")), Overlap: schedule.Overlap(o.text("overlap")),
		CatchUpMax: o.integer("catch_up_max", 1, schedule.CatchUpMaxMax),
	}
	o.done()
	s, err := schedule.New(spec)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.bad(v, "%s", strings.TrimPrefix(strings.TrimSpace(line), schedule.ErrSpec.Error()+": "))
		}
		return nil
	}
	return s
}

func (r *reader) triggers(v *value) (all []Trigger) {
	if v.kind != listKind || len(v.items) > TriggersMax {
		r.bad(v, "want a list of at most %d triggers", TriggersMax)
		return nil
	}
	for _, item := range v.items {
		o := r.object(item)
		t := Trigger{On: o.required("on"), AtMost: o.duration("at_most", TimeoutMax)}
		switch t.On {
		case "alarm":
			t.Monitor, t.Severity, t.Subject = o.text("monitor"), o.text("severity"), o.text("subject")
			t.Again = o.boolean("again", false)
			if t.Severity != "" && t.Severity != "warning" && t.Severity != "critical" {
				r.bad(item, "severity is %q, want warning or critical", t.Severity)
			}
		case "labels":
			if t.Count = o.integer("count", 1, 1_000_000_000); t.Count == 0 {
				r.bad(item, "count is missing: how many new labels start a run")
			}
		case "file":
			t.Path = o.required("path")
			if _, err := filepath.Match(t.Path, ""); err != nil {
				r.bad(item, "path %q is not a pattern: %v", t.Path, err)
			}
		case "webhook":
			t.Name = o.required("name")
		case "":
		default:
			r.bad(item, "on is %q, want alarm, labels, file or webhook", t.On)
		}
		o.done()
		all = append(all, t)
	}
	return all
}

func (r *reader) partitions(v *value) *Partitions {
	o := r.object(v)
	p := &Partitions{By: o.required("by"), Zone: time.UTC}
	if _, ok := partitionLayouts[p.By]; !ok && p.By != "" {
		r.bad(v, "by is %q, want hour, day, week or month", p.By)
	}
	if zone := o.text("timezone"); zone != "" {
		place, err := time.LoadLocation(zone)
		if err != nil {
			r.bad(v, "timezone %q is not known here, want a name such as Europe/Berlin", zone)
		} else {
			p.Zone = place
		}
	}
	for _, bound := range []struct {
		name string
		to   *time.Time
	}{{"from", &p.From}, {"to", &p.To}} {
		text := o.text(bound.name)
		if text == "" {
			continue
		}
		t, err := ParseTime(text, p.Zone)
		if err != nil {
			r.bad(v, "%s: %v", bound.name, err)
		}
		*bound.to = t
	}
	if p.From.IsZero() {
		r.bad(v, "from is missing: where the first partition begins")
	}
	o.done()
	return p
}

// ParseTime reads a day, such as 2026-01-31, or a time in RFC 3339.
func ParseTime(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: time %q, want such as 2026-01-31 or 2026-01-31T15:04:05Z", ErrInvalid, text)
	}
	return t, nil
}
