// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/orchestrator/schedule"
)

// object is a mapping whose order stays.
type object = yaml.MapSlice

func field(name string, v any) yaml.MapItem { return yaml.MapItem{Key: name, Value: v} }

// argoCronNameMax bounds the name of a CronWorkflow: its workflows get a time behind it.
const argoCronNameMax = 52

// Argo writes a Workflow for Argo Workflows 3.6 and later, or a CronWorkflow if the
// pipeline has a schedule.
func Argo(p *pipeline.Pipeline, o Options) (string, error) {
	if o.Again == 0 {
		o.Again = 2
	}
	if err := o.check(true); err != nil {
		return "", err
	}
	seen := map[string]string{}
	for _, t := range p.Tasks {
		if other, ok := seen[dashes(t.Name)]; ok {
			return "", fmt.Errorf("%w: the tasks %s and %s have one name in Kubernetes: rename one", ErrOptions, other, t.Name)
		}
		seen[dashes(t.Name)] = t.Name
	}
	name := dashes(p.Name)
	if p.Schedule != nil && len(name) > argoCronNameMax {
		return "", fmt.Errorf("%w: the name %s has %d letters, and Argo allows a CronWorkflow %d", ErrOptions, name, len(name), argoCronNameMax)
	}
	spec := workflow(p, o)
	kind := "Workflow"
	metadata := object{field("generateName", name+"-")}
	if p.Schedule != nil {
		kind, metadata = "CronWorkflow", object{field("name", name)}
		spec = cronWorkflow(p, spec)
	}
	if o.Namespace != "" {
		metadata = append(metadata, field("namespace", o.Namespace))
	}
	if p.Description != "" {
		metadata = append(metadata, field("annotations", object{field("workflows.argoproj.io/description", p.Description)}))
	}
	text, err := yaml.MarshalWithOptions(object{
		field("apiVersion", "argoproj.io/v1alpha1"), field("kind", kind), field("metadata", metadata), field("spec", spec),
	}, yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("export pipeline %s: %w", p.Name, err)
	}
	return fmt.Sprintf("# Written by millrace from the pipeline %s (version %s): change that, and export it again.\n%s", p.Name, p.Hash, text), nil
}

func workflow(p *pipeline.Pipeline, o Options) object {
	spec := object{field("entrypoint", "pipeline")}
	if len(p.Parameters) > 0 {
		var all []object
		for _, parameter := range p.Parameters {
			one := object{field("name", parameter.Name)}
			if parameter.Default != nil {
				one = append(one, field("value", pipeline.Text(parameter.Default)))
			}
			all = append(all, one)
		}
		spec = append(spec, field("arguments", object{field("parameters", all)}))
	}
	if p.Concurrency > 0 {
		spec = append(spec, field("parallelism", p.Concurrency))
	}
	if p.Schedule != nil && p.Schedule.Spec.Overlap == schedule.OverlapQueue {
		spec = append(spec, field("synchronization", object{field("mutexes", []object{{field("name", "millrace-"+dashes(p.Name))}})}))
	}
	spec = append(spec, field("volumes", []object{{field("name", "millrace"), field("persistentVolumeClaim", object{field("claimName", o.Claim)})}}))
	var steps, templates []object
	for _, t := range p.Order() {
		step := object{field("name", dashes(t.Name)), field("template", dashes("task-"+t.Name))}
		if len(t.After) > 0 {
			step = append(step, field("depends", depends(t)))
		}
		steps = append(steps, step)
		templates = append(templates, template(p, t, o))
	}
	// A task that failed does not end the others: what does not wait for it goes on.
	dag := object{field("failFast", false)}
	if slices.ContainsFunc(p.Tasks, (*pipeline.Task).LooksAtEnds) {
		// Argo judges a run by its targets alone, which are the last tasks if none are named.
		names := make([]string, len(p.Tasks))
		for i, t := range p.Order() {
			names[i] = dashes(t.Name)
		}
		dag = append(dag, field("target", strings.Join(names, " ")))
	}
	entry := object{field("name", "pipeline"), field("dag", append(dag, field("tasks", steps)))}
	return append(spec, field("templates", append([]object{entry}, templates...)))
}

func depends(t *pipeline.Task) string {
	terms := make([]string, len(t.After))
	for i, n := range t.After {
		n = dashes(n)
		terms[i] = n + ".Succeeded"
		if t.LooksAtEnds() {
			terms[i] = fmt.Sprintf("(%[1]s.Succeeded || %[1]s.Skipped || %[1]s.Omitted || %[1]s.Failed || %[1]s.Errored)", n)
		}
	}
	return strings.Join(terms, " && ")
}

func template(p *pipeline.Pipeline, t *pipeline.Task, o Options) object {
	at := "{{workflow.creationTimestamp.RFC3339}}"
	if p.Schedule != nil {
		at = "{{workflow.scheduledTime}}"
	}
	args := o.arguments(p, t, "{{workflow.name}}", at, func(name string) string { return "{{workflow.parameters." + name + "}}" })
	one := object{field("name", dashes("task-"+t.Name))}
	if d := t.LongestTime(); d > 0 {
		// A text, as the limit below: the published schema has no numbers that may be templates.
		one = append(one, field("activeDeadlineSeconds", fmt.Sprint(int64((d+time.Minute).Seconds()))))
	}
	if o.Again > 0 {
		// Only for what is no fault of the task: its own retries are within the step.
		one = append(one, field("retryStrategy", object{field("limit", fmt.Sprint(o.Again)), field("retryPolicy", "OnError"),
			field("backoff", object{field("duration", "10s"), field("factor", "2")})}))
	}
	return append(one, field("container", object{
		field("image", o.Image), field("command", []string{o.Program}), field("args", args),
		field("volumeMounts", []object{{field("name", "millrace"), field("mountPath", o.Mount)}}),
	}))
}

func cronWorkflow(p *pipeline.Pipeline, spec object) object {
	expression, zone := cron(p)
	if strings.HasPrefix(expression, "@every") {
		// Argo takes the same words, from the same library.
		expression = strings.Join(strings.Fields(expression), " ")
	}
	policy := map[schedule.Overlap]string{schedule.OverlapSkip: "Forbid", schedule.OverlapQueue: "Allow", schedule.OverlapCancel: "Replace"}[p.Schedule.Spec.Overlap]
	late := 60
	if p.Schedule.Spec.CatchUp != schedule.CatchUpNone {
		late = 24 * 60 * 60 // Argo catches up with the last time only
	}
	return object{
		field("schedules", []string{expression}), field("timezone", zone), field("concurrencyPolicy", policy),
		field("startingDeadlineSeconds", late), field("workflowSpec", spec),
	}
}

// dashes makes a name that Kubernetes takes: without _, and not ending in -.
func dashes(name string) string {
	name = strings.ReplaceAll(name, "_", "-")
	if strings.HasSuffix(name, "-") {
		return name + "-x"
	}
	return name
}
