// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

func port(ports []Port, name string) Port {
	for _, p := range ports {
		if p.Name == name {
			return p
		}
	}
	return Port{}
}

func (k *Kind) input(name string) Port  { return port(k.Inputs, name) }
func (k *Kind) output(name string) Port { return port(k.Outputs, name) }

// effectiveOutputs are those that the pipeline lists, with the files that the kind gives
// them, or all of the kind.
func effectiveOutputs(t *pipeline.Task, k *Kind) (all []pipeline.Output) {
	if k == nil || len(k.Outputs) == 0 {
		return t.Outputs
	}
	for _, o := range t.Outputs {
		if p := k.output(o.Name); p.File != "" && o.File == o.Name {
			o.File = p.File
		}
		all = append(all, o)
	}
	for _, p := range k.Outputs {
		listed := slices.ContainsFunc(t.Outputs, func(o pipeline.Output) bool { return o.Name == p.Name })
		// An output that the pipeline does not list is made all the same.
		if !listed {
			file := p.File
			if file == "" {
				file = p.Name
			}
			all = append(all, pipeline.Output{Name: p.Name, File: file})
		}
	}
	return all
}

// Check compares a pipeline with the kinds of tasks that there are, and reports all that
// does not fit, with its place.
func (e *engine) Check(p *pipeline.Pipeline) error {
	var errs []error
	for _, t := range p.Tasks {
		for _, problem := range e.checkTask(p, t) {
			errs = append(errs, fmt.Errorf("%w: %s: pipelines.%s.tasks.%s: %s", pipeline.ErrInvalid, t.Place, p.Name, t.Name, problem))
		}
	}
	return errors.Join(errs...)
}

func (e *engine) checkTask(p *pipeline.Pipeline, t *pipeline.Task) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	k := e.kinds[t.Uses]
	if k == nil {
		names := make([]string, 0, len(e.kinds))
		for name := range e.kinds {
			names = append(names, name)
		}
		slices.Sort(names)
		bad("uses: there is no kind %q; there is %s", t.Uses, strings.Join(names, ", "))
		return problems
	}
	given := map[string]bool{}
	for _, in := range t.Inputs {
		given[in.Name] = true
		if !k.OpenInputs && k.input(in.Name).Name == "" {
			bad("inputs: %s has no input %q; it has %s", k.Name, in.Name, portNames(k.Inputs))
		}
		source, err := p.Task(in.Task)
		if err != nil || e.kinds[source.Uses] == nil {
			continue // reported with that task
		}
		outputs := effectiveOutputs(source, e.kinds[source.Uses])
		if !slices.ContainsFunc(outputs, func(o pipeline.Output) bool { return o.Name == in.Output }) {
			names := make([]Port, len(outputs))
			for i, o := range outputs {
				names[i].Name = o.Name
			}
			bad("inputs.%s: task %s has no output %q; it has %s", in.Name, in.Task, in.Output, portNames(names))
		}
	}
	for _, in := range k.Inputs {
		if !in.Optional && !given[in.Name] {
			bad("inputs: %s needs %q: %s", k.Name, in.Name, in.Doc)
		}
	}
	for _, o := range t.Outputs {
		if !k.OpenOutputs && k.output(o.Name).Name == "" {
			bad("outputs: %s has no output %q; it has %s", k.Name, o.Name, portNames(k.Outputs))
		}
	}
	if !pipeline.HasTemplate(t.With) {
		with := t.With
		if with == nil {
			with = map[string]any{}
		}
		data, err := json.Marshal(with)
		if err == nil {
			_, err = decode(k, data)
		}
		if err != nil {
			bad("%v", err)
		}
	}
	return problems
}

func portNames(ports []Port) string {
	if len(ports) == 0 {
		return "none"
	}
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}
