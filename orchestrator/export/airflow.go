// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/orchestrator/schedule"
)

// Airflow's templates: the run's id, and the time that the run is for, empty for one that
// was started by hand.
const (
	airflowRun  = "{{ run_id }}"
	airflowTime = "{{ data_interval_end.isoformat() if data_interval_end is defined and data_interval_end else '' }}"
)

// airflowEnd is the step that says how a run ended. No task has its name, with a dash.
const airflowEnd = "millrace-end"

// Airflow writes a DAG file for Airflow 2.9 and later, and 3.
func Airflow(p *pipeline.Pipeline, o Options) (string, error) {
	if o.Operator == "" {
		o.Operator = "bash"
	}
	if err := o.check(o.Operator != "bash"); err != nil {
		return "", err
	}
	w := &airflow{p: p, o: o, ends: slices.ContainsFunc(p.Tasks, (*pipeline.Task).LooksAtEnds)}
	switch o.Operator {
	case "bash":
		w.operator, w.imports, w.step = "BashOperator", airflowBash, w.bash
	case "docker":
		w.operator, w.imports, w.step = "DockerOperator", airflowDocker, w.docker
	case "kubernetes":
		w.operator, w.imports, w.step = "KubernetesPodOperator", airflowKubernetes, w.kubernetes
	default:
		return "", fmt.Errorf("%w: operator %q, want bash, docker or kubernetes", ErrOptions, o.Operator)
	}
	if w.ends {
		w.imports = airflowEmpty + w.imports
	}
	w.head()
	for _, t := range p.Order() {
		w.task(t)
	}
	w.edges()
	return w.String(), nil
}

const (
	airflowParam = `try:
    from airflow.sdk import Param
except ImportError:  # Airflow 2
    from airflow.models.param import Param
`
	airflowEmpty = `try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2
    from airflow.operators.empty import EmptyOperator
`
	airflowBash = `try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator
`
	airflowDocker = `from airflow.providers.docker.operators.docker import DockerOperator
from docker.types import Mount
`
	airflowKubernetes = `from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s
`
)

type airflow struct {
	strings.Builder
	p                 *pipeline.Pipeline
	o                 Options
	operator, imports string
	ends              bool // there are tasks that run after failures too
	step              func(t *pipeline.Task, args []string)
}

func (w *airflow) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *airflow) head() {
	w.line("# Written by millrace from the pipeline %s (version %s): change that, and export it again.", w.p.Name, w.p.Hash)
	w.line("from __future__ import annotations\n\nfrom datetime import timedelta\n\nimport pendulum\n")
	w.line("try:\n    from airflow.sdk import DAG\nexcept ImportError:  # Airflow 2\n    from airflow import DAG")
	if slices.ContainsFunc(w.p.Parameters, func(one pipeline.Parameter) bool { return one.Default == nil }) {
		w.line("%s", strings.TrimSuffix(airflowParam, "\n"))
	}
	w.line("%s", w.imports)
	w.line("with DAG(")
	w.line("    dag_id=%s,", quote(w.p.Name))
	if w.p.Description != "" {
		w.line("    description=%s,", quote(w.p.Description))
	}
	start, zone, when, catchUp := w.o.Start, "UTC", "None", false
	if start.IsZero() {
		start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if w.p.Partitions != nil {
			start = w.p.Partitions.From
		}
	}
	if w.p.Schedule != nil {
		var expression string
		expression, zone = cron(w.p)
		when, catchUp = quote(expression), w.p.Schedule.Spec.CatchUp == schedule.CatchUpAll
		if every, ok := strings.CutPrefix(expression, "@every "); ok {
			if d, err := time.ParseDuration(strings.TrimSpace(every)); err == nil {
				when = fmt.Sprintf("timedelta(seconds=%d)", int64(d.Seconds()))
			}
		}
	}
	w.line("    schedule=%s,", when)
	w.line("    start_date=pendulum.datetime(%d, %d, %d, tz=%s),", start.Year(), start.Month(), start.Day(), quote(zone))
	w.line("    catchup=%s,", python(catchUp))
	w.line("    max_active_runs=1,")
	if w.p.Concurrency > 0 {
		w.line("    max_active_tasks=%d,", w.p.Concurrency)
	}
	if len(w.p.Parameters) > 0 {
		w.line("    params={")
		for _, parameter := range w.p.Parameters {
			value := python(parameter.Default)
			if parameter.Default == nil { // whoever starts a run has to give it
				value = `Param(type=["string", "number", "boolean"])`
			}
			w.line("        %s: %s,", quote(parameter.Name), value)
		}
		w.line("    },")
	}
	w.line("    tags=[\"millrace\"],\n) as dag:")
}

func (w *airflow) task(t *pipeline.Task) {
	args := w.o.arguments(w.p, t, airflowRun, airflowTime, func(name string) string { return "{{ params." + name + " }}" })
	w.line("    %s = %s(", variable(t), w.operator)
	w.line("        task_id=%s,", quote(t.Name))
	w.step(t, args)
	w.line("        retries=%d,", w.o.Again)
	w.line("        retry_delay=timedelta(seconds=10),")
	if d := t.LongestTime(); d > 0 {
		w.line("        execution_timeout=timedelta(seconds=%d),", int64((d + time.Minute).Seconds()))
	}
	if t.LooksAtEnds() {
		w.line("        trigger_rule=\"all_done\",")
	}
	w.line("    )")
}

// bash gives what is not known yet to the shell by variables, so that nothing in it is
// taken for shell.
func (w *airflow) bash(_ *pipeline.Task, args []string) {
	words := []string{shellQuote(w.o.Program)}
	var env []string
	for _, a := range args {
		if !strings.Contains(a, "{{") {
			words = append(words, shellQuote(a))
			continue
		}
		name := fmt.Sprintf("MILLRACE_ARGUMENT_%d", len(env)+1)
		env = append(env, fmt.Sprintf("            %s: %s,", quote(name), quote(a)))
		words = append(words, "\"$"+name+"\"")
	}
	w.line("        bash_command=%s,", quote("exec "+strings.Join(words, " ")))
	w.line("        env={\n%s\n        },\n        append_env=True,", strings.Join(env, "\n"))
}

func (w *airflow) docker(_ *pipeline.Task, args []string) {
	w.line("        image=%s,", quote(w.o.Image))
	w.list("entrypoint", []string{w.o.Program})
	w.list("command", args)
	w.line("        mounts=[Mount(source=%s, target=%s, type=\"bind\")],", quote(w.o.Claim), quote(w.o.Mount))
	w.line("        mount_tmp_dir=False,\n        auto_remove=\"success\",")
}

func (w *airflow) kubernetes(t *pipeline.Task, args []string) {
	w.line("        name=%s,", quote(dashes(w.p.Name+"-"+t.Name)))
	if w.o.Namespace != "" {
		w.line("        namespace=%s,", quote(w.o.Namespace))
	}
	w.line("        image=%s,", quote(w.o.Image))
	w.list("cmds", []string{w.o.Program})
	w.list("arguments", args)
	w.line("        volumes=[k8s.V1Volume(name=\"millrace\", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=%s))],", quote(w.o.Claim))
	w.line("        volume_mounts=[k8s.V1VolumeMount(name=\"millrace\", mount_path=%s)],", quote(w.o.Mount))
}

func (w *airflow) list(name string, items []string) {
	w.line("        %s=[", name)
	for _, item := range items {
		w.line("            %s,", quote(item))
	}
	w.line("        ],")
}

func (w *airflow) edges() {
	w.line("")
	for _, t := range w.p.Order() {
		for _, n := range t.After {
			before, err := w.p.Task(n)
			if err == nil {
				w.line("    %s >> %s", variable(before), variable(t))
			}
		}
	}
	if !w.ends {
		return
	}
	// Airflow judges a run by its last steps alone.
	w.line("    # A run in which a task failed has failed, whatever ran after that.")
	w.line("    tasks = [")
	for _, t := range w.p.Order() {
		w.line("        %s,", variable(t))
	}
	w.line("    ]\n    tasks >> EmptyOperator(task_id=%s, trigger_rule=\"none_failed\")", quote(airflowEnd))
}

func variable(t *pipeline.Task) string { return "task_" + t.Name }

// quote is a text as Python writes it; JSON's escapes are all Python's.
func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""` // no text is refused
	}
	// encoding/json writes <, > and & as escapes, which are right but not nice to read.
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(data))
}

func python(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return quote(v)
	}
	return pipeline.Text(v)
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-/=:,@+", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
