// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// cycle returns the names of tasks that wait for one another, the first one again at the
// end, or nothing.
func cycle(tasks []*Task) []string {
	const (
		unseen = iota
		open
		closed
	)
	byName := make(map[string]*Task, len(tasks))
	for _, t := range tasks {
		byName[t.Name] = t
	}
	state := make(map[string]int, len(tasks))
	var path []string
	var visit func(t *Task) []string
	visit = func(t *Task) []string {
		state[t.Name] = open
		path = append(path, t.Name)
		for _, name := range t.After {
			switch state[name] {
			case open:
				return append(slices.Clone(path[slices.Index(path, name):]), name)
			case unseen:
				if next := byName[name]; next != nil {
					if found := visit(next); found != nil {
						return found
					}
				}
			}
		}
		path = path[:len(path)-1]
		state[t.Name] = closed
		return nil
	}
	for _, t := range tasks {
		if state[t.Name] == unseen {
			if found := visit(t); found != nil {
				slices.Reverse(found) // a -> b: b waits for a
				return found
			}
		}
	}
	return nil
}

// Order returns the tasks so that each comes after all it waits for, otherwise in the
// order of the file.
func (p *Pipeline) Order() []*Task {
	order := make([]*Task, 0, len(p.Tasks))
	done := make(map[string]bool, len(p.Tasks))
	for len(order) < len(p.Tasks) { // once per level
		for _, t := range p.Tasks {
			if !done[t.Name] && !slices.ContainsFunc(t.After, func(n string) bool { return !done[n] }) {
				order = append(order, t)
				done[t.Name] = true
			}
		}
	}
	return order
}

// Upstream returns some tasks and all that they wait for, directly or not.
func (p *Pipeline) Upstream(names ...string) map[string]bool {
	in := make(map[string]bool)
	for _, n := range names {
		in[n] = true
	}
	order := p.Order()
	for _, t := range slices.Backward(order) {
		if in[t.Name] {
			for _, n := range t.After {
				in[n] = true
			}
		}
	}
	return in
}

// Downstream returns some tasks and all that wait for them, directly or not.
func (p *Pipeline) Downstream(names ...string) map[string]bool {
	in := make(map[string]bool)
	for _, n := range names {
		in[n] = true
	}
	for _, t := range p.Order() {
		if slices.ContainsFunc(t.After, func(n string) bool { return in[n] }) {
			in[t.Name] = true
		}
	}
	return in
}

// Format is how a graph is drawn.
type Format string

// The formats: text for a terminal, DOT for Graphviz, Mermaid for Markdown.
const (
	FormatText    Format = "text"
	FormatDOT     Format = "dot"
	FormatMermaid Format = "mermaid"
)

// Graph draws the pipeline. note says a word on a task, such as its status; it may be nil.
func (p *Pipeline) Graph(f Format, note func(task string) string) (string, error) {
	if note == nil {
		note = func(string) string { return "" }
	}
	var b strings.Builder
	switch f {
	case FormatText:
		p.text(&b, note)
	case FormatDOT:
		p.dot(&b, note)
	case FormatMermaid:
		p.mermaid(&b, note)
	default:
		return "", fmt.Errorf("%w: graph format %q, want text, dot or mermaid", ErrInvalid, f)
	}
	return b.String(), nil
}

func (p *Pipeline) text(b *strings.Builder, note func(string) string) {
	fmt.Fprintf(b, "%s\n", p.Name)
	level := map[string]int{}
	width := 0
	order := p.Order()
	for _, t := range order {
		for _, n := range t.After {
			level[t.Name] = max(level[t.Name], level[n]+1)
		}
		width = max(width, 2*level[t.Name]+len(t.Name))
	}
	for _, t := range order {
		line := fmt.Sprintf("  %-*s  %s", width, strings.Repeat("  ", level[t.Name])+t.Name, t.Uses)
		if len(t.After) > 0 {
			line += " <- " + strings.Join(t.After, ", ")
		}
		if t.When != nil {
			line += " when " + t.When.Text
		}
		if n := note(t.Name); n != "" {
			line += " [" + n + "]"
		}
		b.WriteString(line + "\n")
	}
}

func (p *Pipeline) dot(b *strings.Builder, note func(string) string) {
	fmt.Fprintf(b, "digraph %q {\n  rankdir=LR;\n  node [shape=box];\n", p.Name)
	for _, t := range p.Tasks {
		label := t.Name + "\n" + t.Uses
		if n := note(t.Name); n != "" {
			label += "\n" + n
		}
		fmt.Fprintf(b, "  %q [label=%q];\n", t.Name, label)
	}
	for _, e := range p.edges() {
		attribute := ""
		if e.label != "" {
			attribute = fmt.Sprintf(" [label=%q]", e.label)
		}
		fmt.Fprintf(b, "  %q -> %q%s;\n", e.from, e.to, attribute)
	}
	b.WriteString("}\n")
}

func (p *Pipeline) mermaid(b *strings.Builder, note func(string) string) {
	b.WriteString("flowchart LR\n")
	for _, t := range p.Tasks {
		label := t.Name + "<br/>" + t.Uses
		if n := note(t.Name); n != "" {
			label += "<br/>" + n
		}
		fmt.Fprintf(b, "  t_%s[\"%s\"]\n", t.Name, strings.ReplaceAll(label, `"`, "#quot;"))
	}
	for _, e := range p.edges() {
		arrow := "-->"
		if e.label != "" {
			arrow = "-->|" + e.label + "|"
		}
		fmt.Fprintf(b, "  t_%s %s t_%s\n", e.from, arrow, e.to)
	}
}

type edge struct{ from, to, label string }

// edges are the dependencies with the outputs that are handed on.
func (p *Pipeline) edges() (all []edge) {
	for _, t := range p.Tasks {
		for _, n := range t.After {
			var outputs []string
			for _, in := range t.Inputs {
				if in.Task == n {
					outputs = append(outputs, in.Output)
				}
			}
			all = append(all, edge{n, t.Name, strings.Join(outputs, ", ")})
		}
	}
	return all
}
