// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// labelOptions are the flags that all commands below `millrace label` share.
type labelOptions struct {
	folder, server, project string
	token                   tokenOptions
	json                    bool
}

func newLabelCommand() *cobra.Command {
	o := new(labelOptions)
	cmd := &cobra.Command{
		Use:   "label",
		Short: "See, choose, take in and give out what people label",
		Long: `See, choose, take in and give out what people label.

The files that millrace.yaml lists under labeling say what is labelled. A server that runs
the project is asked over HTTP, as --server or the project's own port; where none runs, the
project's log is opened.`,
		Example: `  millrace label status
  millrace label select --strategy margin --count 50 --dry-run
  millrace label export --format parquet --output labels.parquet
  millrace label import tasks.json --project review`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.folder, "folder", ".", "`folder` of the project")
	flags.StringVar(&o.server, "server", "", "HTTP `address` of the server, such as localhost:8000 (default: the project's own, where it runs)")
	flags.StringVar(&o.token.secret, "token", "", "`token` for a server that has tokens; others on this machine see it in the list of processes, --token-file does not show it")
	o.token.addFlags(flags)
	flags.StringVar(&o.project, "project", "", "`name` of the labelling project (default: the only one)")
	flags.BoolVar(&o.json, "json", false, "answer in JSON instead of a table")
	cmd.AddCommand(o.statusCommand(), o.selectCommand(), o.importCommand(), o.exportCommand(), o.agreementCommand(), o.errorsCommand(), o.aggregateCommand())
	return cmd
}

// within runs a command with a client and the path of its project.
func (o *labelOptions) within(cmd *cobra.Command, do func(ctx context.Context, c *labelClient, path string) error) (err error) {
	ctx := cmd.Context()
	c, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer closing(&err, c.close)
	name, err := c.project(ctx, o.project)
	if err != nil {
		return err
	}
	return do(ctx, c, labelPath+"/"+url.PathEscape(name))
}

// show writes an answer: as JSON when asked for, else by table.
func (o *labelOptions) show(w io.Writer, answer any, table func(io.Writer) error) error {
	if !o.json {
		return table(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(answer)
}

func (o *labelOptions) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tasks, people and agreement of the projects",
		Long: `Tasks, people and agreement of the projects: of all projects their tasks, and of one
(--project, or the only one) the people and how far they agree.`,
		Example: `  millrace label status
  millrace label status --project review --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(&err, c.close)
			all, err := c.projects(cmd.Context())
			if err != nil {
				return err
			}
			if o.project == "" && len(all) == 1 {
				o.project = all[0].Project
			}
			if o.project == "" {
				return o.show(cmd.OutOrStdout(), all, func(w io.Writer) error { return printProjects(w, all) })
			}
			var one projectStatus
			if err := c.ask(cmd.Context(), http.MethodGet, labelPath+"/"+url.PathEscape(o.project), nil, nil, &one); err != nil {
				return err
			}
			return o.show(cmd.OutOrStdout(), &one, one.table)
		},
	}
}

func printProjects(w io.Writer, all []*projectStatus) error {
	table := newTable(w, "PROJECT\tOPEN\tLEASED\tREVIEW\tDONE\tGOLD\tPEOPLE\tDECISION")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", printable(s.Project), s.Open, s.Leased, s.Review, s.Done, s.Gold, len(s.People), printable(s.Decision))
	}
	return table.Flush()
}

func (s *projectStatus) table(w io.Writer) error {
	if err := printProjects(w, []*projectStatus{s}); err != nil {
		return err
	}
	if len(s.People) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "ANNOTATOR\tANNOTATIONS\tSKIPPED\tGOLD RIGHT\tOVERRIDDEN\tMEDIAN TIME\tLAST")
		for _, q := range s.People {
			fmt.Fprintf(table, "%s\t%d\t%d\t%d of %d\t%d\t%v\t%s\n", printable(q.Name), q.Annotations, q.Skips, q.GoldRight, q.GoldSeen, q.Overridden,
				(time.Duration(q.LeadMS) * time.Millisecond).Round(100*time.Millisecond), lastText(q.Last))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if s.Agreement == nil || s.Agreement.Alpha == nil && len(s.Agreement.Cohen) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return s.Agreement.coefficients(w)
}

func (o *labelOptions) agreementCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "agreement",
		Short: "How far annotators agree beyond chance, with intervals",
		Long: `How far annotators agree beyond chance: Krippendorff's alpha of all annotations, Fleiss'
kappa of the tasks that have as many as the project asks for, Cohen's kappa of each pair of
annotators, with bootstrap intervals at 95 %. 1 is always, 0 is by chance.`,
		Example: `  millrace label agreement --project review`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				var report agreementReport
				if err := c.ask(ctx, http.MethodGet, path+"/agreement", nil, nil, &report); err != nil {
					return err
				}
				return o.show(cmd.OutOrStdout(), &report, report.table)
			})
		},
	}
}

func (r *agreementReport) table(w io.Writer) error {
	if r.Annotations == 0 {
		_, err := fmt.Fprintln(w, "nothing was annotated yet")
		return err
	}
	if err := r.coefficients(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	table := newTable(w, "ANNOTATOR\tANNOTATIONS\tMEDIAN TIME\tAGREES WITH OTHERS\tGOLD RIGHT")
	for _, q := range r.People {
		fmt.Fprintf(table, "%s\t%d\t%v\t%s of %d\t%s (%s to %s) of %d\n", printable(q.Name), q.Answers, (time.Duration(q.LeadMS) * time.Millisecond).Round(100*time.Millisecond),
			share(q.Others), q.Pairs, share(q.Gold), share(q.GoldLow), share(q.GoldHigh), q.GoldSeen)
	}
	return table.Flush()
}

func (r *agreementReport) coefficients(w io.Writer) error {
	table := newTable(w, "AGREEMENT\tVALUE\t95 %\tTASKS")
	line := func(name string, e *labelEstimate) {
		if e != nil {
			fmt.Fprintf(table, "%s\t%s\t%s to %s\t%d\n", name, share(e.Value), share(e.Low), share(e.High), e.Items)
		}
	}
	line("Krippendorff's alpha", r.Alpha)
	line("Fleiss' kappa", r.Fleiss)
	for i := range r.Cohen {
		line("Cohen's kappa, "+printable(strings.Join(r.Cohen[i].Between, " and ")), &r.Cohen[i])
	}
	return table.Flush()
}

// share is a number that may not be defined.
func share(x *float64) string {
	if x == nil {
		return "-"
	}
	return strconv.FormatFloat(*x, 'f', 3, 64)
}

func (o *labelOptions) selectCommand() *cobra.Command {
	var in selectRequest
	var share float64
	var where, from, to string
	cmd := &cobra.Command{
		Use:   "select",
		Short: "Choose decisions to be labelled now",
		Long: `Choose decisions to be labelled now. What is not given is as the project's select says. A
share is always drawn at random, so that estimates from the labels stay unbiased. Decisions
with an outcome, and those that are tasks already, are left out.

Strategies: random, margin, entropy, least_confidence, vote_entropy and consensus_kl (by the
scores of shadow models), k_center, gradient, badge, impact.`,
		Example: `  millrace label select --count 100
  millrace label select --strategy k_center --count 40 --dry-run
  millrace label select --where 'amount > 200 and answer == "approve"' --from 2026-03-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := cmd.Flags().Changed
			if given("random-share") {
				in.RandomShare = &share
			}
			if given("where") {
				in.Where = &where
			}
			for flag, at := range map[string]struct {
				text string
				into *time.Time
			}{"from": {from, &in.From}, "to": {to, &in.To}} {
				if !given(flag) {
					continue
				}
				t, err := parseMoment(at.text)
				if err != nil {
					return usageError{fmt.Errorf("--%s: %w", flag, err)}
				}
				*at.into = t
			}
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				var out selected
				if err := c.ask(ctx, http.MethodPost, path+"/select", nil, &in, &out); err != nil {
					return err
				}
				return o.show(cmd.OutOrStdout(), &out, func(w io.Writer) error { return out.table(w, in.DryRun) })
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Strategy, "strategy", "", "`rule` that chooses")
	flags.IntVar(&in.Count, "count", 0, "how many to choose, at most "+strconv.Itoa(selectCountMax))
	flags.Float64Var(&share, "random-share", 0, "`share` of them drawn at random, 0 to 1")
	flags.StringVar(&where, "where", "", "`condition` over facts, features, score, answer, segment, arm and model")
	flags.StringVar(&from, "from", "", "first `moment` of the decisions (default: the project's window before --to)")
	flags.StringVar(&to, "to", "", "`moment` before which they lie (default: now, by the project's clock)")
	flags.BoolVar(&in.DryRun, "dry-run", false, "say what would be chosen, and change nothing")
	return cmd
}

// table lists the first of what was chosen.
func (s *selected) table(w io.Writer, dry bool) error {
	const shown = 20
	verb := "chose"
	if dry {
		verb = "would choose"
	}
	fmt.Fprintf(w, "%s %d of %d decisions from %s to %s by %s\n", verb, len(s.Chosen), s.Left.Decisions, s.From.UTC().Format(time.DateTime), s.To.UTC().Format(time.DateTime), s.Strategy)
	fmt.Fprintf(w, "left out: %d have an outcome, %d are tasks, %d do not fit the condition, %d could not be asked, %d without a score, %d without those of a committee\n",
		s.Left.Labelled, s.Left.Tasks, s.Left.Filtered, s.Left.Faulty, s.Left.Unscored, s.Left.Alone)
	if s.Left.Fault != "" {
		fmt.Fprintln(w, "condition:", printable(s.Left.Fault))
	}
	if s.Note != "" {
		fmt.Fprintln(w, s.Note)
	}
	if len(s.Chosen) == 0 {
		return nil
	}
	table := newTable(w, "PREDICTION\tBY\tSCORE\tWHY")
	for _, c := range s.Chosen[:min(shown, len(s.Chosen))] {
		fmt.Fprintf(table, "%s\t%s\t%.3g\t%s\n", printable(c.ID), c.Chosen.Strategy, c.Chosen.Score, printable(c.Chosen.Why))
	}
	err := table.Flush()
	if more := len(s.Chosen) - shown; more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	return err
}

func (o *labelOptions) errorsCommand() *cobra.Command {
	var limit int
	var all bool
	var rule, score string
	cmd := &cobra.Command{
		Use:   "errors",
		Short: "Annotations that are probably wrong, to look at again",
		Long: `Annotations that are probably wrong, the worst first, by confident learning: what people
said is compared with what the model said when the task was chosen, before it could learn
the label. --rule is confident, class, noise_rate or both, --score normalized_margin or
self_confidence.`,
		Example: `  millrace label errors --limit 50
  millrace label errors --all --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usageError{errors.New("--limit: give 1 or more")}
			}
			return o.within(cmd, func(ctx context.Context, c *labelClient, path string) error {
				var report doubtReport
				query := url.Values{"limit": {strconv.Itoa(limit)}, "all": {strconv.FormatBool(all)}, "rule": {rule}, "score": {score}}
				if err := c.ask(ctx, http.MethodGet, path+"/errors", query, nil, &report); err != nil {
					return err
				}
				return o.show(cmd.OutOrStdout(), &report, report.table)
			})
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&limit, "limit", 100, "how many to list at most")
	flags.BoolVar(&all, "all", false, "rank all annotations, not only the probably wrong ones")
	flags.StringVar(&rule, "rule", "", "`rule` that says which are wrong (default confident)")
	flags.StringVar(&score, "score", "", "`score` that ranks them (default normalized_margin)")
	return cmd
}

func (r *doubtReport) table(w io.Writer) error {
	fmt.Fprintf(w, "%d annotations compared, %d without a prediction; about %.1f %% are wrong, %d are pointed out\n", r.Annotations, r.Unscored, 100*r.Noise, r.Issues)
	if r.Note != "" {
		fmt.Fprintln(w, r.Note)
	}
	if len(r.Doubts) == 0 {
		return nil
	}
	table := newTable(w, "TASK\tANNOTATOR\tGIVEN\tSUGGESTED\tSCORE")
	for _, d := range r.Doubts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.3f\n", printable(d.Task), printable(d.Annotator), printable(d.Given), printable(d.Suggested), d.Score)
	}
	return table.Flush()
}

// lastText is when somebody last said something; - is not yet.
func lastText(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.DateTime)
}
