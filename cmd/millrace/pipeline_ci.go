// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/export"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// ciFlags are those of `pipeline ci`.
type ciFlags struct {
	runFlags
	junit, markdown string
}

func (o *pipelineOptions) ciCommand() *cobra.Command {
	var f ciFlags
	cmd := &cobra.Command{
		Use: "ci [PIPELINE]", Short: "Try a pipeline for a pull request: all tasks, but nothing is promoted", Args: cobra.MaximumNArgs(1),
		Long: `Run a pipeline as for a pull request: all tasks run, promote changes nothing, and the
status is 1 if a task fails or a report's gates do not hold. The reasons are printed; --markdown and
--junit write them for the pull request and the CI server. The state folder is one of its own; keep
it between runs to use what has not changed.`,
		Example: `  millrace pipeline ci fraud
  millrace pipeline ci fraud --markdown comment.md --junit gates.xml`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.ci(cmd, args, &f) },
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.junit, "junit", "", "`file` for the gates as JUnit XML")
	cmd.Flags().StringVar(&f.markdown, "markdown", "", "`file` for the reports as Markdown")
	return cmd
}

func (o *pipelineOptions) ci(cmd *cobra.Command, args []string, f *ciFlags) error {
	var reports []*report.Report
	status, err := o.run(cmd, args, &f.runFlags, true, func(r *orchestrator.Runner, s *orchestrator.RunStatus) (err error) {
		reports, err = reportsOf(r, s)
		return err
	})
	if status == nil {
		return err
	}
	w := cmd.OutOrStdout()
	if o.asJSON {
		if err := writeJSON(w, status); err != nil {
			return err
		}
	} else if err := o.showRun(w, status); err != nil {
		return err
	}
	var reasons []string
	for _, r := range reports {
		if r.Verdict != report.Fail {
			continue
		}
		for _, g := range r.Gates {
			if !g.Holds && !g.Warning {
				reasons = append(reasons, fmt.Sprintf("%s: %s", g.Name, g.Reason))
			}
		}
	}
	if err := f.write(reports); err != nil {
		return err
	}
	if len(reasons) > 0 && !o.asJSON {
		fmt.Fprintf(w, "\nthe model does not pass:\n  %s\n", strings.Join(reasons, "\n  "))
	}
	switch {
	case err != nil:
		return err
	case len(reasons) > 0:
		return fmt.Errorf("the model fails %s", counted(len(reasons), "gate"))
	case len(reports) == 0:
		return errors.New("no task wrote a report, so nothing was judged: the pipeline needs an evaluate task")
	case !slices.ContainsFunc(reports, func(r *report.Report) bool { return r.Verdict != report.NoGates }):
		return errors.New("no evaluation has gates, so nothing was decided")
	}
	if !o.asJSON {
		_, err = fmt.Fprintln(w, "\nall gates hold")
	}
	return err
}

// reportsOf reads the reports that tasks of a run wrote.
func reportsOf(runner *orchestrator.Runner, s *orchestrator.RunStatus) ([]*report.Report, error) {
	var all []*report.Report
	for _, t := range s.Tasks {
		info, ok := t.Outputs["report"]
		if !ok || !t.Status.Good() {
			continue
		}
		f, err := os.Open(filepath.Join(runner.Path(info.Digest), "report.json"))
		if errors.Is(err, os.ErrNotExist) {
			continue // of another kind of task
		} else if err != nil {
			return nil, err
		}
		r, err := report.ReadJSON(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("report of %s: %w", t.Name(), err)
		}
		all = append(all, r)
	}
	return all, nil
}

// write writes the reports where the flags say.
func (f *ciFlags) write(reports []*report.Report) error {
	for _, one := range []struct {
		path  string
		write func(io.Writer, []*report.Report) error
	}{{f.junit, report.WriteJUnitAll}, {f.markdown, writeMarkdowns}} {
		if one.path == "" {
			continue
		}
		file, err := os.Create(one.path)
		if err != nil {
			return err
		}
		if err = errors.Join(one.write(file, reports), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func writeMarkdowns(w io.Writer, reports []*report.Report) (err error) {
	for _, r := range reports {
		err = errors.Join(err, report.WriteMarkdown(w, r))
	}
	return err
}

// exportFlags are those of `pipeline export`.
type exportFlags struct {
	to      string
	project string
	options export.Options
	start   momentFlag
}

func (o *pipelineOptions) exportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use: "export [PIPELINE] --to airflow|argo", Short: "Write a pipeline for Airflow or Argo Workflows", Args: cobra.MaximumNArgs(1),
		Long: `Write a pipeline as an Airflow DAG or an Argo Workflow, whose steps call millrace task run
on storage that they share: the way out when one machine is not enough. Retries, time-outs,
conditions and the cache stay with that call, so that the pipeline comes to the same there.`,
		Example: `  millrace pipeline export fraud --to airflow --project /srv/fraud > dags/fraud.py
  millrace pipeline export fraud --to argo --project /millrace/fraud --image registry.example/millrace:1 --claim shared > fraud.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.export(cmd, args, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "`target`: airflow or argo")
	flags.StringVar(&f.options.Program, "program", "", "how the steps call millrace (default: millrace)")
	flags.StringVar(&f.project, "project", "", "the project's `folder` as the steps see it (default: where it is here)")
	flags.StringVar(&f.options.Image, "image", "", "container `image`; needed for argo, and the operators docker and kubernetes")
	flags.StringVar(&f.options.Operator, "operator", "", "how Airflow runs steps: `bash`, docker or kubernetes")
	flags.StringVar(&f.options.Claim, "claim", "", "persistent volume `claim` with the project; for docker the folder of the host")
	flags.StringVar(&f.options.Mount, "mount", "", "`folder` where it is mounted (default /millrace)")
	flags.StringVar(&f.options.Namespace, "namespace", "", "`namespace` of Kubernetes")
	flags.Var(&f.start, "start", "when Airflow's schedule begins")
	return cmd
}

func (o *pipelineOptions) export(cmd *cobra.Command, args []string, f *exportFlags) error {
	host, file, err := o.open()
	if err != nil {
		return pipelineMistake(err)
	}
	name, err := pipelineName(args, file)
	if err != nil {
		return err
	}
	p, err := file.Find(name)
	if err != nil {
		return err
	}
	f.options.Start = f.start.time
	if err := f.locate(host, p); err != nil {
		return err
	}
	var text string
	switch f.to {
	case "airflow":
		text, err = export.Airflow(p, f.options)
	case "argo":
		text, err = export.Argo(p, f.options)
	default:
		return usageError{fmt.Errorf("--to %q: there are airflow and argo", f.to)}
	}
	if errors.Is(err, export.ErrOptions) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	_, err = io.WriteString(cmd.OutOrStdout(), text)
	return err
}

// locate says where the steps find the pipeline's file and its state.
func (f *exportFlags) locate(h *taskHost, p *pipeline.Pipeline) error {
	here, err := filepath.Abs(h.project.Dir)
	if err != nil {
		return err
	}
	there := cmp.Or(f.project, here)
	within := func(path string) (string, error) {
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
		relative, err := filepath.Rel(here, path)
		if err != nil || strings.HasPrefix(relative, "..") {
			return "", usageError{fmt.Errorf("%s is not within the project's folder, so the steps cannot find it there", path)}
		}
		return filepath.Join(there, relative), nil
	}
	file, _, _ := strings.Cut(p.Tasks[0].Place, ":") // file:line:column
	if f.options.File, err = within(file); err != nil {
		return err
	}
	f.options.State, err = within(filepath.Join(h.project.State, "pipelines"))
	return err
}
