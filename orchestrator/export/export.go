// SPDX-License-Identifier: Apache-2.0

// Package export writes pipelines for other orchestrators: the way out when one machine is
// not enough. Each task becomes a step that calls
//
//	millrace task run TASK --pipeline PIPELINE --run RUN ...
//
// with its state folder on storage that all steps share. Retries, time-outs, conditions
// and the cache stay with that call, so that a pipeline comes to the same here and there;
// the other orchestrator gives the order and the schedule. It may begin a step again at any
// time: a task that succeeded is not run again.
//
// The text depends only on the pipeline and the options. Functions may be called from many
// goroutines.
package export

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// ErrOptions means that options are missing or do not fit the target.
var ErrOptions = errors.New("invalid export")

// Options of an export.
type Options struct {
	// Program is how the steps call millrace; empty is millrace.
	Program string
	// File is the pipeline's file and State the state folder, as the steps see them; both are
	// needed.
	File, State string
	// Image is the container image; needed for Argo, and for the operators docker and kubernetes.
	Image string
	// Operator is how Airflow runs steps: bash (the default), docker or kubernetes.
	Operator string
	// Claim is the persistent volume claim, or for docker the folder of the host, that is
	// mounted at Mount, which File and State are below; Mount is /millrace if it is empty.
	Claim, Mount string
	// Namespace is that of Kubernetes; empty leaves it out.
	Namespace string
	// Start is when Airflow's schedule begins; zero is where the partitions begin, or 2026-01-01.
	Start time.Time
	// Again is how often a step is begun again whose machine was lost; 0 is 2 for Argo, and
	// never for Airflow, which begins steps again that failed for other reasons too. -1 is never.
	Again int
}

func (o *Options) check(needImage bool) error {
	var errs []error
	missing := func(what string, v string) {
		if v == "" {
			errs = append(errs, fmt.Errorf("%w: %s is missing", ErrOptions, what))
		}
	}
	missing("the pipeline's file", o.File)
	missing("the state folder", o.State)
	if needImage {
		missing("the container image", o.Image)
		missing("the volume claim", o.Claim)
	}
	if o.Program == "" {
		o.Program = "millrace"
	}
	if o.Mount == "" {
		o.Mount = "/millrace"
	}
	switch {
	case o.Again < 0:
		o.Again = 0
	case o.Again > pipeline.RetriesMax:
		errs = append(errs, fmt.Errorf("%w: again is %d, at most %d are allowed", ErrOptions, o.Again, pipeline.RetriesMax))
	}
	for _, text := range []string{o.Program, o.File, o.State, o.Image, o.Claim, o.Mount, o.Namespace} {
		if strings.ContainsAny(text, "\n\r\x00") || strings.Contains(text, "{{") || strings.Contains(text, "{%") || strings.Contains(text, "{#") {
			errs = append(errs, fmt.Errorf("%w: %q has a line feed or a template in it", ErrOptions, text))
		}
	}
	return errors.Join(errs...)
}

// arguments are those of a step, after the program. run, at and parameter give the
// target's templates.
func (o *Options) arguments(p *pipeline.Pipeline, t *pipeline.Task, run, at string, parameter func(name string) string) []string {
	args := []string{"task", "run", t.Name, "--pipeline", p.Name, "--file", o.File, "--state", o.State, "--run", run, "--time", at}
	for _, one := range p.Parameters {
		args = append(args, "--param", one.Name+"="+parameter(one.Name))
	}
	return args
}

// cron is a schedule without the time zone that may be in it.
func cron(p *pipeline.Pipeline) (expression, zone string) {
	spec := p.Schedule.Spec
	expression, zone = spec.Cron, spec.Timezone
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if rest, ok := strings.CutPrefix(expression, prefix); ok {
			zone, expression, _ = strings.Cut(rest, " ")
		}
	}
	if zone == "" {
		zone = "UTC"
	}
	return strings.TrimSpace(expression), zone
}
