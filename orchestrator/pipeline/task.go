// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// tasks reads the tasks of a pipeline, then what they name of one another.
func (r *reader) tasks(p *Pipeline, v *value) {
	o := r.object(v)
	if n := len(o.v.keys); n == 0 || n > TasksMax {
		r.bad(v, "%d tasks, want 1 to %d", n, TasksMax)
		return
	}
	var places []*value
	for i, k := range o.v.keys {
		if r.name(k, v.path) {
			p.Tasks = append(p.Tasks, r.task(k, o.v.items[i]))
			places = append(places, o.v.items[i])
		}
	}
	for i, t := range p.Tasks {
		r.connect(p, t, places[i])
	}
	r.finishers(p)
	if names := cycle(p.Tasks); names != nil {
		r.bad(v, "the tasks wait for one another in a cycle: %s", strings.Join(names, " -> "))
	}
}

func (r *reader) task(k key, v *value) *Task {
	o := r.object(v)
	t := &Task{Name: k.name, Place: fmt.Sprintf("%s:%d:%d", r.file, k.line, k.column)}
	t.Uses = o.required("uses")
	t.Retries = o.integer("retries", 0, RetriesMax)
	t.Backoff, t.BackoffMax = o.duration("backoff", BackoffMax), o.duration("backoff_max", BackoffMax)
	t.Timeout = o.duration("timeout", TimeoutMax)
	t.Parallel = o.integer("parallel", 1, ConcurrencyMax)
	t.NoCache = !o.boolean("cache", true)
	if t.Backoff == 0 {
		t.Backoff = BackoffDefault
	}
	if t.BackoffMax == 0 {
		t.BackoffMax = BackoffMax
	}
	if w := o.get("with"); w != nil {
		if t.With = map[string]any{}; w.kind == mappingKind {
			t.With = w.plain().(map[string]any)
			t.with = w
		} else {
			r.bad(w, "want a mapping, not %s", describe(w))
		}
	}
	r.inputs(t, o.get("inputs"))
	r.outputs(t, o.get("outputs"))
	t.Needs, _ = o.texts("needs")
	if w := o.get("when"); w != nil {
		t.When = r.expression(w)
	}
	if f := o.get("foreach"); f != nil {
		t.Foreach = r.foreach(f)
	}
	o.done()
	return t
}

func (r *reader) inputs(t *Task, v *value) {
	if v == nil {
		return
	}
	o := r.object(v)
	if len(o.v.keys) > PortsMax {
		r.bad(v, "%d inputs, at most %d are allowed", len(o.v.keys), PortsMax)
		return
	}
	for i, k := range o.v.keys {
		item := o.v.items[i]
		text, _ := item.scalar.(string)
		task, output, ok := strings.Cut(text, ".")
		switch {
		case !portPattern.MatchString(k.name) || len(k.name) > NameLengthMax:
			r.fail(k.line, k.column, v.path, "name %q: want letters, digits and _", k.name)
		case !ok || task == "" || output == "":
			r.bad(item, "want TASK.OUTPUT, not %s", describe(item))
		default:
			t.Inputs = append(t.Inputs, Input{k.name, task, output})
		}
	}
}

func (r *reader) outputs(t *Task, v *value) {
	if v == nil {
		return
	}
	add := func(at *value, name, file string) {
		switch {
		case !portPattern.MatchString(name) || len(name) > NameLengthMax:
			r.bad(at, "name %q: want letters, digits and _", name)
		case !filePattern.MatchString(file) || len(file) > 2*NameLengthMax:
			r.bad(at, "file name %q: want letters, digits, dot, - and _", file)
		case slices.ContainsFunc(t.Outputs, func(o Output) bool { return o.Name == name || o.File == file }):
			r.bad(at, "the output %q or its file is here twice", name)
		default:
			t.Outputs = append(t.Outputs, Output{name, file})
		}
	}
	if len(v.items) > PortsMax {
		r.bad(v, "%d outputs, at most %d are allowed", len(v.items), PortsMax)
		return
	}
	switch v.kind {
	case listKind:
		for _, item := range v.items {
			name, _ := item.scalar.(string)
			add(item, name, name)
		}
	case mappingKind:
		for i, k := range v.keys {
			file, _ := v.items[i].scalar.(string)
			add(v.items[i], k.name, file)
		}
	default:
		r.bad(v, "want a list of names, or a mapping of names to file names, not %s", describe(v))
	}
}

func (r *reader) expression(v *value) *Expression {
	text, ok := v.scalar.(string)
	if b, isBool := v.scalar.(bool); isBool {
		text, ok = fmt.Sprint(b), true
	}
	if inner, whole := strings.CutPrefix(strings.TrimSpace(text), "{{"); whole {
		text = strings.TrimSuffix(inner, "}}")
	}
	if !ok {
		r.bad(v, "want an expression, not %s", describe(v))
		return nil
	}
	e, err := compile(text)
	if err != nil {
		r.bad(v, "expression %q: %v", text, err)
	}
	return e
}

func (r *reader) foreach(v *value) *Foreach {
	if v.kind != listKind {
		e := r.expression(v)
		return &Foreach{Expression: e}
	}
	if len(v.items) == 0 || len(v.items) > ItemsMax {
		r.bad(v, "%d items, want 1 to %d", len(v.items), ItemsMax)
	}
	f := &Foreach{}
	for _, item := range v.items {
		f.Items = append(f.Items, r.scalarValue(item))
	}
	if err := checkItems(f.Items); err != nil {
		r.bad(v, "%v", err)
	}
	return f
}

// checkItems sees that items can be told apart by what they are called.
func checkItems(items []any) error {
	seen := map[string]bool{}
	for _, item := range items {
		name := ItemName(item)
		if seen[name] {
			return fmt.Errorf("%w: the item %q comes twice", ErrInvalid, name)
		}
		seen[name] = true
	}
	return nil
}

// ItemName is what an item is called where it names a file or a task's part: characters
// other than letters, digits, dot, - and _ become _, and a text that is long is cut and
// told apart by a sum.
func ItemName(item any) string {
	text := Text(item)
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c) {
			return c
		}
		return '_'
	}, text)
	if name == text && name != "" && len(name) <= NameLengthMax && strings.Trim(name, ".") != "" {
		return name
	}
	if len(name) > NameLengthMax/2 {
		name = name[:NameLengthMax/2]
	}
	return strings.TrimLeft(name, ".") + "-" + shortSum(text)
}

// connect checks what a task names, and finds what it waits for.
func (r *reader) connect(p *Pipeline, t *Task, at *value) {
	after := map[string]bool{}
	names := make([]string, len(p.Tasks))
	for i := range p.Tasks {
		names[i] = p.Tasks[i].Name
	}
	need := func(name, what string) *Task {
		i := slices.Index(names, name)
		if i < 0 {
			r.bad(at, "%s: no task %q%s", what, name, hint(name, names))
			return nil
		}
		after[name] = true
		return p.Tasks[i]
	}
	for _, in := range t.Inputs {
		need(in.Task, "inputs."+in.Name) // whether it has the output depends on its kind
	}
	for _, n := range t.Needs {
		need(n, "needs")
	}
	c := &nameCheck{r: r, p: p, t: t, need: need}
	if t.When != nil {
		c.check(at, t.When, "when")
	}
	if t.Foreach != nil && t.Foreach.Expression != nil {
		c.check(at, t.Foreach.Expression, "foreach")
	}
	if t.with != nil {
		t.with.each(func(v *value) { c.template(v) })
	}
	for _, n := range names {
		if after[n] {
			t.After = append(t.After, n)
		}
	}
}

// finishers makes the tasks that run at the end wait for all others: those that wait for
// nothing and run always, or when something failed.
func (r *reader) finishers(p *Pipeline) {
	var last []*Task
	for _, t := range p.Tasks {
		if len(t.After) == 0 && t.When != nil && t.When.mentions("always", "failed", "succeeded") {
			last = append(last, t)
		}
	}
	for _, t := range last {
		for _, other := range p.Tasks {
			if !slices.Contains(last, other) && !slices.Contains(p.reaches(t.Name), other.Name) {
				t.After = append(t.After, other.Name)
			}
		}
	}
}

// reaches are the tasks that wait for one, directly or not, whether there are cycles or not.
func (p *Pipeline) reaches(name string) []string {
	found := []string{name}
	for i := 0; i < len(found); i++ {
		for _, t := range p.Tasks {
			if slices.Contains(t.After, found[i]) && !slices.Contains(found, t.Name) {
				found = append(found, t.Name)
			}
		}
	}
	return found
}

// nameCheck checks the names in the expressions of a task.
type nameCheck struct {
	r    *reader
	p    *Pipeline
	t    *Task
	need func(name, what string) *Task
}

func (c *nameCheck) template(v *value) {
	text, ok := v.scalar.(string)
	if !ok {
		return
	}
	t, err := parseTemplate(text)
	if err != nil {
		c.r.bad(v, "%v", err)
	}
	if t == nil {
		return
	}
	for _, e := range t.expressions {
		c.check(v, e, "")
	}
}

func (c *nameCheck) check(at *value, e *Expression, where string) {
	if e == nil {
		return
	}
	prefix := where
	if prefix != "" {
		prefix += ": "
	}
	for _, ref := range e.References {
		if problem := c.reference(ref, where); problem != "" {
			c.r.bad(at, "%s%s", prefix, problem)
		}
	}
}

func (c *nameCheck) reference(ref Reference, where string) (problem string) {
	switch ref.Root {
	case "params":
		return c.member(ref, parameterNames(c.p.Parameters), "parameter")
	case "run":
		return c.member(ref, []string{"id", "pipeline", "time"}, "field of run")
	case "partition":
		if c.p.Partitions == nil {
			return "the pipeline has no partitions"
		}
		return c.member(ref, []string{"key", "start", "end"}, "field of partition")
	case "trigger":
		return ""
	case "item":
		if c.t.Foreach == nil || where == "foreach" {
			return "item is there only with foreach"
		}
		return ""
	case "inputs", "outputs":
		if where != "" {
			return ref.Root + " can be used below with only"
		}
		if ref.Root == "outputs" {
			return "" // a kind may have outputs that the file does not list
		}
		names := make([]string, len(c.t.Inputs))
		for i, in := range c.t.Inputs {
			names[i] = in.Name
		}
		return c.member(ref, names, "input")
	case "always", "failed", "succeeded":
		if where != "when" {
			return ref.Root + " can be used in when only"
		}
		return ""
	case c.t.Name:
		return "a task cannot wait for itself"
	}
	c.need(ref.Root, "expression")
	return ""
}

func (c *nameCheck) member(ref Reference, names []string, what string) string {
	if ref.Field == "" || slices.Contains(names, ref.Field) {
		return ""
	}
	return fmt.Sprintf("no %s %q%s", what, ref.Field, hint(ref.Field, names))
}

func parameterNames(all []Parameter) []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}
