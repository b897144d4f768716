// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	monitordoc "github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

const monitorLong = `See what the monitors of a project found, and what they would have found.

millrace up runs the monitors that the project's files describe; what they find is kept in
the state folder, and these commands read it while the server runs or when it does not.
docs/guides/monitoring.md says how to set monitors up and how to read what they say.`

func newMonitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "See what monitors found, report it, replay a log",
		Long:  monitorLong,
		Example: `  millrace monitor status
  millrace monitor report --monitor fraud --output report.html
  millrace monitor report --monitor fraud --format markdown --fail-on critical
  millrace monitor backtest --monitor fraud --output backtest.html
  millrace monitor backtest --data scored.parquet --time at --score score --label is_fraud`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(newMonitorStatusCommand(), newMonitorReportCommand(), newMonitorBacktestCommand())
	return cmd
}

// monitorsIn reads what monitors found: of the project in a folder, or of a state folder.
func monitorsIn(args []string) (*monitorsOfState, error) {
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	if _, err := os.Stat(filepath.Join(dir, projectFile)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, monitorsFolder)); err != nil {
			return nil, usageError{fmt.Errorf("%s: there is no %s, and no folder %s as in a state folder", dir, projectFile, monitorsFolder)}
		}
		return newMonitorsOfState(dir, nil), nil
	}
	p, err := loadProject(dir)
	if err != nil {
		return nil, err
	}
	specs, err := loadMonitors(p)
	if err != nil {
		return nil, err
	}
	return newMonitorsOfState(p.State, monitorInfos(specs)), nil
}

// monitorInfos are monitors as the console knows them.
func monitorInfos(specs []*monitorSpec) []console.MonitorInfo {
	var all []console.MonitorInfo
	for _, s := range specs {
		all = append(all, console.MonitorInfo{Name: s.Name, Decision: s.Decision, Label: s.Label})
	}
	return all
}

// choose is the monitor of a name, or the only one there is.
func (m *monitorsOfState) choose(name string) (string, error) {
	all, err := m.Monitors()
	if err != nil {
		return "", err
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	switch {
	case len(names) == 0:
		return "", usageError{fmt.Errorf("there are no monitors: name their files in %s, such as monitors: [monitors.yaml]", projectFile)}
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", usageError{fmt.Errorf("which one? Give --monitor %s", strings.Join(names, " or "))}
	case !slices.Contains(names, name):
		return "", usageError{fmt.Errorf("--monitor: there is no monitor %q%s", name, didYouMean(name, names))}
	}
	return name, nil
}

// monitorState is a monitor as status shows it.
type monitorState struct {
	Monitor  string          `json:"monitor"`
	Decision string          `json:"decision,omitempty"`
	Problem  string          `json:"problem,omitempty"`
	Windows  []windowState   `json:"windows"`
	Raised   []monitor.Alarm `json:"raised"`
	Damaged  int             `json:"damaged_lines,omitempty"`
}

// windowState is the newest window of a length.
type windowState struct {
	Window string `json:"window"`
	// Closed and Matured are the ends of the newest windows that did.
	Closed  *time.Time `json:"closed,omitempty"`
	Matured *time.Time `json:"matured,omitempty"`
	Rows    int64      `json:"rows"`
	// Metric is the most telling one of the kind, roc_auc or mae; Value is by labels, Estimated
	// before them; null if unknown.
	Metric    string   `json:"metric"`
	Value     *float64 `json:"value"`
	Estimated *float64 `json:"estimated"`
}

func newMonitorStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [FOLDER]",
		Short: "List monitors, their newest windows, and the alarms that are raised",
		Long: `List the monitors of the project in FOLDER (default: this one), or of a state folder, with
their newest windows and the alarms that are raised. It reads the state folder, so no server
has to run.`,
		Example: `  millrace monitor status
  millrace monitor status .millrace/state --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			m, err := monitorsIn(args)
			if err != nil {
				return err
			}
			defer closing(&err, m.close)
			states, err := m.states()
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(states)
			}
			return printMonitors(cmd.OutOrStdout(), states)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (m *monitorsOfState) states() ([]monitorState, error) {
	all, err := m.Monitors()
	if err != nil {
		return nil, err
	}
	states := []monitorState{}
	for _, info := range all {
		s, err := m.store(info.Name)
		if err != nil {
			return nil, err
		}
		state := monitorState{Monitor: info.Name, Decision: info.Decision, Problem: info.Problem, Windows: []windowState{}}
		if state.Raised, err = s.Alarms(); err != nil {
			return nil, err
		}
		ended, err := endedAlarms(m.state, info.Name)
		if err != nil {
			return nil, err
		}
		state.Raised = slices.DeleteFunc(state.Raised, func(a monitor.Alarm) bool { return ended(&a) != 0 })
		windows, err := s.Windows()
		if err != nil {
			return nil, err
		}
		for _, w := range windows {
			newest, err := newestOf(s, w)
			if err != nil {
				return nil, err
			}
			state.Windows = append(state.Windows, newest)
		}
		if state.Damaged = s.Damaged(); state.Raised == nil {
			state.Raised = []monitor.Alarm{}
		}
		states = append(states, state)
	}
	return states, nil
}

// newestOf is what the newest windows of a length say.
func newestOf(s *record.Store, w monitor.Duration) (windowState, error) {
	state := windowState{Window: w.String(), Metric: string(monitor.Binary.Metrics()[0])}
	for _, matured := range []bool{false, true} {
		reports, err := s.Reports(record.Query{Window: w, Matured: &matured, Limit: 1})
		if err != nil || len(reports) == 0 {
			if err != nil {
				return state, err
			}
			continue
		}
		r := &reports[0]
		end, metric := time.UnixMicro(r.End).UTC(), r.Kind.Metrics()[0]
		state.Metric = string(metric)
		if matured {
			if state.Matured = &end; r.Quality != nil {
				state.Value = known(r.Quality.Values.Of(metric))
			}
			continue
		}
		state.Closed, state.Rows = &end, r.Rows
		if r.Estimated != nil && !r.Estimated.Unreliable {
			state.Estimated = known(r.Estimated.Values.Of(metric))
		}
	}
	return state, nil
}

// known is a number for JSON, nil for NaN.
func known(v float64) *float64 {
	if v != v {
		return nil
	}
	return &v
}

func printMonitors(w io.Writer, states []monitorState) error {
	if len(states) == 0 {
		_, err := fmt.Fprintln(w, "no monitors")
		return err
	}
	table := newTable(w, "MONITOR\tDECISION\tWINDOW\tCLOSED\tROWS\tMETRIC\tESTIMATED\tMATURED\tBY LABELS\tALARMS")
	for _, s := range states {
		if len(s.Windows) == 0 {
			fmt.Fprintf(table, "%s\t%s\t%s\n", s.Monitor, clean(s.Decision), cmp.Or(clean(s.Problem), "no window was judged yet; where a version has no reference its first days become one: the console says how long"))
		}
		for _, v := range s.Windows {
			raised := 0
			for i := range s.Raised {
				if _, window, _ := monitordoc.Parts(s.Raised[i].Subject); window == v.Window {
					raised++
				}
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\n", s.Monitor, clean(s.Decision), v.Window, minuteOf(v.Closed), v.Rows, v.Metric, decimals(v.Estimated), minuteOf(v.Matured), decimals(v.Value), raised)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return printRaised(w, states)
}

func printRaised(w io.Writer, states []monitorState) error {
	table := newTable(w, "\nSEVERITY\tMONITOR\tALARM\tSINCE\tWINDOWS\tREASON")
	n := 0
	for _, severity := range []monitor.Severity{monitor.Critical, monitor.Warning} {
		for _, s := range states {
			for i := range s.Raised {
				if a := &s.Raised[i]; a.Severity == severity {
					n++
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", a.Severity, s.Monitor, monitordoc.Subject(a), time.UnixMicro(a.Since).UTC().Format(minuteForm), a.Windows, clean(a.Reason))
				}
			}
		}
	}
	if n == 0 {
		_, err := fmt.Fprintln(w, "\nno alarm is raised")
		return err
	}
	return table.Flush()
}

// minuteForm is how times are shown where the minute is enough; they are UTC.
const minuteForm = "2006-01-02 15:04"

func minuteOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(minuteForm)
}

func decimals(v *float64) string {
	if v == nil {
		return "-"
	}
	if math.Abs(*v) >= 1 { // an amount
		return fmt.Sprintf("%.5g", *v)
	}
	return fmt.Sprintf("%.4f", *v)
}
