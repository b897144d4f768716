// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/bench/payments"
)

func newDemoPaymentsCommand() *cobra.Command {
	var o payments.Options
	var start string
	var changeFrom, changeEvery int
	cmd := &cobra.Command{
		Use:   "demo-payments FILE",
		Short: "Write card payments with frauds in them, to try features and decisions",
		Long: `Write card payments with frauds in them, to try features and decisions.

FILE ends in .parquet or .csv and is replaced. The same flags write the same payments.
Columns: transaction_id, event_timestamp, customer_id, terminal_id, amount, is_fraud,
fraud_scenario (1 high amount, 2 terminal compromised, 3 customer compromised; from changes
on 4 cards tested at night, 5 dormant cards, 6 vouchers late in the evening).`,
		Example: `  millrace demo-payments payments.parquet --days 60 --customers 1000 --seed 1
  millrace demo-payments changing.parquet --days 200 --change-from 60 --change-every 45`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if start != "" {
				t, err := parseMoment(start)
				if err != nil {
					return usageError{fmt.Errorf("--start: %w", err)}
				}
				o.Start = t
			}
			if changeFrom > 0 {
				o.Changes = payments.Recurring(changeFrom, cmp.Or(changeEvery, payments.DaysMax), o.Days)
			}
			o.EnsureDefaults()
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			written, err := payments.Write(cmd.Context(), args[0], o, nil)
			if err != nil {
				return fmt.Errorf("demo payments: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %d payments of %d days, %d of them frauds, to %s\n", written.Payments, o.Days, written.Frauds, args[0])
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Days, "days", 60, "`number` of days")
	flags.IntVar(&o.Customers, "customers", 1000, "`number` of customers, who pay about 1.8 times a day each")
	flags.IntVar(&o.Terminals, "terminals", 0, "`number` of terminals; 0 for twice the customers")
	flags.Uint64Var(&o.Seed, "seed", 0, "`number` that draws another world")
	flags.IntVar(&changeFrom, "change-from", 0, "`day` from which on there is a way of defrauding that was not there before; 0 is never")
	flags.IntVar(&changeEvery, "change-every", 0, "`days` after which there is the next one; 0 is never")
	flags.StringVar(&start, "start", "", "first `day`, such as 2026-01-05")
	return cmd
}

// generate makes the project's payments where they are missing.
func (g *projectGenerate) generate(ctx context.Context, say func(format string, args ...any)) error {
	if _, err := os.Stat(g.Path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(g.Path), 0o755); err != nil {
		return err
	}
	began := time.Now()
	written, err := payments.Write(ctx, g.Path, payments.Options{Days: g.Days, Customers: g.Customers, Terminals: g.Terminals, Seed: g.Seed, Start: g.Start}, nil)
	if err != nil {
		return fmt.Errorf("generate %s: %w", g.Path, err)
	}
	say("generated %d payments of %d days, %d of them frauds, in %v: %s", written.Payments, g.Days, written.Frauds, time.Since(began).Round(time.Millisecond), g.Path)
	return nil
}
