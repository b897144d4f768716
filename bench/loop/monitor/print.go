// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Targets of the monitor.
const (
	FalseAlarmsMin, FalseAlarmsMax = 0.005, 0.015
	FoundMin                       = 0.95
	ErrorMax                       = 0.02
)

// Print measures all of it and prints tables. Without the payments their part is left out,
// and said so.
func Print(ctx context.Context, w io.Writer, o Options, transactions, features, dir string) error {
	if err := printRates(ctx, w, o); err != nil {
		return err
	}
	shifts, err := Shifts(ctx, 40, []float64{0.25, 0.5})
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\ntest\tshift (sd)\tcolumns\trows\tfound\tanother one found")
	for _, s := range shifts {
		n := float64(s.Rounds)
		fmt.Fprintf(t, "%s\t%.2f\t%d\t%d\t%.1f %%\t%.1f %%\n", s.Test, s.SD, s.Columns, s.Rows, 100*float64(s.Found)/n, 100*float64(s.Wrong)/n)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printPayments(ctx, w, transactions, features, dir)
}

// printRates prints each rate when it is known, as all of them take minutes.
func printRates(ctx context.Context, w io.Writer, o Options) error {
	outside := 0
	fmt.Fprintf(w, "%-14s  %-14s  %7s  %9s  %12s  %4s  %7s  0.5 to 1.5 %%\n", "world", "test", "window", "reference", "false alarms", "se", "windows")
	o.Done = func(r Rate) {
		share, se := r.Share()
		verdict := "yes"
		if share < FalseAlarmsMin || share > FalseAlarmsMax {
			verdict = "within 3 se"
			if share < FalseAlarmsMin-3*se || share > FalseAlarmsMax+3*se {
				verdict = "NO"
				outside++
			}
		}
		fmt.Fprintf(w, "%-14s  %-14s  %7d  %9d  %10.2f %%  %.2f  %7d  %s\n", r.World, r.Test, r.Current, r.Reference, 100*share, 100*se, r.Windows, verdict)
	}
	rates, err := FalseAlarms(ctx, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d of %d outside\n", outside, len(rates))
	return err
}

func printPayments(ctx context.Context, w io.Writer, transactions, features, dir string) error {
	for _, days := range []int{7, 1} {
		windows, err := Payments(ctx, transactions, features, dir, days)
		if errors.Is(err, ErrNoData) {
			_, err := fmt.Fprintln(w, "\nestimates on payments are left out:", err)
			return err
		}
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nfrom\tdays\trows\tfrauds\tAUC estimated\tinterval\trealised\toff\tflagged")
		all, trusted, n := 0.0, 0.0, 0
		for _, v := range windows {
			all += v.Error() / float64(len(windows))
			if !v.Unreliable {
				trusted += v.Error()
				n++
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.3f\t%.3f to %.3f\t%.3f\t%.3f\t%v\n", v.From.Format("2006-01-02"), v.Days, v.Rows, v.Positives, v.Estimated, v.Low, v.High, v.Realised, v.Error(), v.Reasons)
		}
		fmt.Fprintf(t, "mean error %.4f, of the %d of %d that are not flagged %.4f; target %.2f\n", all, n, len(windows), trusted/math.Max(1, float64(n)), ErrorMax)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
