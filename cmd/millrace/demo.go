// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// demoOptions are the flags of demo.
type demoOptions struct {
	up upOptions // of which demo has the flags of serving

	dir, data, speed, until string
	headless                bool
	seed                    uint64
	customers               int
	daysMax                 int
	timeout                 time.Duration
	modelRepository         string

	given *pflag.FlagSet
	// pace is the speed that --speed asks for, 0 for as fast as it goes; end what --until does.
	pace float64
	end  demoEnd
}

// demoEnd is when a demo ends by itself; zero is never.
type demoEnd struct {
	promoted bool
	days     int
}

func (e demoEnd) never() bool { return !e.promoted && e.days == 0 }

const demoLong = `Run the whole loop by itself, in one process: a world of card payments in which the ways of
defrauding change; a client that asks for a decision on each payment, and learns a simulated
week later which ones were frauds; monitors that see quality fall; people, played by the demo,
who label what is worth it; pipelines that an alarm starts, which train a challenger, judge it
against the model that is served, try it on a share of the payments and promote it.

DIR is a project that is served as millrace up serves one. Nothing in it knows when the world
changes, or what is a fraud, before somebody tells it. The console shows all of it. The same
DIR goes on where it was, also after kill -9.`

const (
	// demoSpeed is how fast time goes where somebody watches.
	demoSpeed = "1d/1.5s"
	// demoKeysMax and demoHeadroomMB keep it small beside what else runs on a machine: its
	// client asks again for what was not answered a moment ago, and not for more.
	demoKeysMax    = 50_000
	demoHeadroomMB = 64
	// demoDir is where the project is if nothing else is said.
	demoDir = ".millrace/demo-loop"
)

func newDemoCommand() *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use: "demo", Short: "Run the whole loop by itself: decide, watch, label, train again, promote", Long: demoLong,
		Example: `  millrace demo
  millrace demo --speed 1d/5s
  millrace demo --data transactions.parquet
  millrace demo --headless --until promoted --dir loop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return usageError{err}
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *demoOptions) addFlags(flags *pflag.FlagSet) {
	o.given = flags
	flags.StringVar(&o.dir, "dir", demoDir, "`folder` of the demo's project; one that is there goes on where it was")
	flags.StringVar(&o.data, "data", "", "`file` of card payments (Parquet or CSV) to replay in place of made ones")
	flags.StringVar(&o.speed, "speed", "", "`speed`, such as 1d/2s for a simulated day in two seconds, 3600x, or max (default "+demoSpeed+", headless max)")
	flags.BoolVar(&o.headless, "headless", false, "no console and no progress line: for tests")
	flags.StringVar(&o.until, "until", "", "end `when`: promoted, once a challenger is in service and its recovery is seen; or 30 days")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that draws another world")
	flags.IntVar(&o.customers, "customers", 1000, "`number` of customers of a new world, 300 to 20000, who pay about twice a day each")
	flags.IntVar(&o.daysMax, "days-max", 200, "with --until: `days` that are simulated at most")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "with --until: real `time` that it takes at most")
	flags.StringVar(&o.modelRepository, "model-repository", "", "`folder` of more models to serve, such as millrace demo-repository writes")
	o.up.addServeFlags(flags)
}

// check reads what flags say, and reports all that is wrong.
func (o *demoOptions) check() error {
	var all []error
	speed, err := parseDemoSpeed(cmp.Or(o.speed, map[bool]string{true: "max", false: demoSpeed}[o.headless]))
	if err != nil {
		all = append(all, fmt.Errorf("--speed: %w", err))
	}
	o.pace = speed
	if o.end, err = parseDemoEnd(o.until); err != nil {
		all = append(all, fmt.Errorf("--until: %w", err))
	}
	if o.customers < 300 || o.customers > 20_000 {
		all = append(all, fmt.Errorf("--customers %d: give 300 to 20000: fewer have too few frauds to learn from", o.customers))
	}
	if o.daysMax < 1 || o.timeout <= 0 {
		all = append(all, errors.New("--days-max, --timeout: give at least a day, and some time"))
	}
	return errors.Join(all...)
}

// parseDemoSpeed reads 1d/2s, or what parseSpeed does.
func parseDemoSpeed(text string) (float64, error) {
	simulated, actual, ok := strings.Cut(text, "/")
	if !ok {
		return parseSpeed(text)
	}
	s, err := parseDays(simulated)
	a, actualErr := time.ParseDuration(actual)
	if err != nil || actualErr != nil || s <= 0 || a <= 0 || s.Seconds()/a.Seconds() > speedMax {
		return 0, fmt.Errorf("%q is no speed such as 1d/2s: a simulated day in two seconds, at most %.0f times as fast as it is", text, float64(speedMax))
	}
	return s.Seconds() / a.Seconds(), nil
}

// parseDays reads a duration that may be in days.
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n > 0 && n < 1e4) {
			return 0, fmt.Errorf("%q is no number of days", text)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	return time.ParseDuration(text)
}

var demoDays = regexp.MustCompile(`^([1-9][0-9]{0,4})( days?|d)$`)

func parseDemoEnd(text string) (demoEnd, error) {
	switch m := demoDays.FindStringSubmatch(text); {
	case text == "":
		return demoEnd{}, nil
	case text == "promoted":
		return demoEnd{promoted: true}, nil
	case m != nil:
		n, err := strconv.Atoi(m[1])
		return demoEnd{days: n}, err
	}
	return demoEnd{}, fmt.Errorf("%q is neither promoted nor a number of days, such as 30 days", text)
}

// run makes the project, trains the first model, and plays.
func (o *demoOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	d := &demo{options: o, begun: time.Now(), out: stdout}
	if err := d.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while preparing; the next start goes on
		}
		return err
	}
	if err := o.logBeside(); err != nil {
		return err
	}
	log, closeLog, err := o.up.serve.log.open(stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	p, err := d.project()
	if err != nil {
		return err
	}
	if err := o.up.serve.checkPorts(ctx); err != nil {
		return err
	}
	if t, ok := progressTerminal(stdout); ok {
		d.terminal = t
	}
	d.greet()
	if err := d.firstModel(ctx, p, stderr); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	o.up.keysMax = demoKeysMax
	if !o.given.Changed("heap-headroom-mb") {
		o.up.serve.heapHeadroomMB = demoHeadroomMB
	}
	if o.modelRepository != "" {
		o.up.models = []string{o.modelRepository}
	}
	defer keepHeapHeadroom(o.up.serve.heapHeadroomMB)()
	u := &up{options: &o.up, project: p, log: log, out: stdout, demo: d}
	if o.headless {
		u.out = io.Discard
		p.Console.Off = true
	} else {
		u.story = d.told
	}
	if !o.end.never() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, errDemoTimeout)
		defer cancel()
	}
	err = u.run(ctx)
	if errors.Is(context.Cause(ctx), errDemoTimeout) {
		return d.missing(fmt.Sprintf("%v are over", o.timeout))
	}
	return err
}

// demoLogBytesMax bounds the log of earlier starts: a larger one begins anew.
const demoLogBytesMax = 16 << 20

// logBeside keeps the log out of the terminal, unless flags say where it goes.
func (o *demoOptions) logBeside() error {
	if o.given.Changed("log-file") {
		return nil
	}
	path := filepath.Join(o.dir, "demo.log")
	o.up.serve.log.file = path
	if info, err := os.Stat(path); err == nil && info.Size() > demoLogBytesMax {
		return os.Truncate(path, 0)
	}
	return nil
}

var errDemoTimeout = errors.New("the demo's time is over")

// project reads the demo's project, with what flags say in place of what it says.
func (d *demo) project() (*project, error) {
	o := d.options
	p, err := loadProject(o.dir)
	if err != nil {
		return nil, err
	}
	if o.headless {
		for _, port := range []*uint16{&p.Server.HTTP, &p.Server.GRPC, &p.Server.Metrics} {
			*port = 0 // any that is free, unless flags say which
		}
	}
	o.up.replay = true
	if err := o.up.override(p); err != nil {
		return nil, err
	}
	p.Replay.Speed = o.pace
	return p, nil
}

// greet says where to look.
func (d *demo) greet() {
	o := d.options
	if o.headless {
		return
	}
	if port := o.up.serve.http.port; port != 0 {
		fmt.Fprintf(d.out, "console: http://%s:%d/ (in some seconds; Ctrl-C ends the demo)\n", hostOf(o.up.serve.http.address), port)
	}
	what := "going on with"
	if d.fresh {
		what = "made"
	}
	fmt.Fprintf(d.out, "%s the project in %s: payments from %s on, of which %d days are history\n", what, filepath.Clean(o.dir), d.world.Start.Format(time.DateOnly), d.world.History)
}

// hostOf is a host for a browser.
func hostOf(address string) string {
	if address == "" || address == "0.0.0.0" || address == "::" {
		return "localhost"
	}
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}
