// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// logState is what `features log stats` answers.
type logState struct {
	// Next is the sequence that the next record will get, Durable that of the last one.
	Next             uint64      `json:"next_sequence"`
	Durable          uint64      `json:"durable_sequence"`
	ReplayFrom       uint64      `json:"replay_from_sequence"`
	Segments         int         `json:"segments"`
	SegmentBytes     int64       `json:"segment_bytes"`
	LagRecords       int64       `json:"records_not_in_partitions"`
	CompactLagSecond float64     `json:"oldest_of_them_seconds"`
	HeldSegments     int         `json:"held_segments"`
	HeldBytes        int64       `json:"held_bytes"`
	HeldDamage       string      `json:"held_damage,omitempty"`
	Partitions       int         `json:"partitions"`
	PartitionBytes   int64       `json:"partition_bytes"`
	PartitionRows    int64       `json:"partition_rows"`
	TornSegment      string      `json:"torn_segment,omitempty"`
	TornBytes        int64       `json:"torn_bytes,omitempty"`
	Streams          []logStream `json:"streams"`
}

type logStream struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
}

func (o *featuresOptions) logCommand() *cobra.Command {
	var state stateFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Look at the event log of a state folder, compact or repair it",
		Long: `Look at the event log of a state folder, compact or repair it. A server may go on while
stats looks; to compact or repair none may have the folder open. One that runs compacts by
itself.`,
		Example: `  millrace features log stats
  millrace features log compact --state /var/lib/millrace/state
  millrace features log repair`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	state.addDir(cmd.PersistentFlags())
	for _, sub := range []struct {
		use, short, long, example string
		run                       func(context.Context, io.Writer, string, *project) error
	}{
		{"stats", "Print the state of the event log", `Print the state of the event log: what is in segments and partitions, its streams. A server
may have it open: the state is that of this moment.`,
			"  millrace features log stats\n  millrace features log stats --json", o.logStats},
		{"compact", "Turn all records into Parquet partitions now", "Turn all records into Parquet partitions now, and apply the project's retention.",
			"  millrace features log compact --state /var/lib/millrace/state", o.logCompact},
		{"repair", "Save what is sound of a damaged event log", `Save what is sound of a damaged event log. Each damaged segment is rewritten with the
batches that are sound; a copy of it as it was stays in the folder damaged of the log.
The status is 1 if records were lost.`,
			"  millrace features log repair --state /var/lib/millrace/state", o.logRepair},
	} {
		cmd.AddCommand(&cobra.Command{Use: sub.use, Short: sub.short, Long: sub.long, Example: sub.example, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				dir, owner, err := state.existing()
				if err != nil {
					return err
				}
				return sub.run(cmd.Context(), cmd.OutOrStdout(), dir, owner)
			}})
	}
	return cmd
}

func (o *featuresOptions) logStats(ctx context.Context, w io.Writer, dir string, owner *project) (err error) {
	options, err := eventLog(dir, owner)
	if err != nil {
		return err
	}
	log, err := offline.OpenReader(ctx, options)
	if err != nil {
		return explainState(dir, err, "")
	}
	defer closing(&err, log.Close)
	return o.showLog(w, log)
}

func (o *featuresOptions) logCompact(ctx context.Context, w io.Writer, dir string, owner *project) (err error) {
	options, err := eventLog(dir, owner)
	if err != nil {
		return err
	}
	if owner != nil {
		options.RetainAge = owner.Log.Retain
	}
	log, err := offline.Open(ctx, options)
	if err != nil {
		return explainState(dir, err, ": a server that runs compacts by itself")
	}
	defer closing(&err, log.Close)
	if err := log.Compact(ctx); err != nil {
		return err
	}
	return o.showLog(w, log)
}

func (o *featuresOptions) showLog(w io.Writer, log *offline.Log) error {
	stats, found := log.Stats(), log.Recovered()
	state := &logState{
		Next: log.Next(), Durable: log.Durable(), ReplayFrom: stats.ReplayFrom,
		Segments: stats.Segments, SegmentBytes: stats.SegmentBytes, LagRecords: stats.LagRecords, CompactLagSecond: stats.CompactLag.Seconds(),
		HeldSegments: stats.HeldSegments, HeldBytes: stats.HeldBytes,
		Partitions: stats.Partitions, PartitionBytes: stats.PartitionBytes, PartitionRows: stats.PartitionRows,
		TornSegment: found.TornSegment, TornBytes: found.TornBytes, Streams: []logStream{},
	}
	if found.HeldDamage != nil {
		state.HeldDamage = found.HeldDamage.Error()
	}
	for _, s := range log.Streams() {
		stream := logStream{Name: s.Stream}
		for _, c := range s.Columns {
			stream.Columns = append(stream.Columns, c.Name+" "+c.Type.String())
		}
		state.Streams = append(state.Streams, stream)
	}
	return o.show(w, state, state.table)
}

func (s *logState) table(w io.Writer) error {
	table := newTable(w, "WHAT\tNUMBER\tSIZE\tRECORDS")
	fmt.Fprintf(table, "segments not in partitions yet\t%d\t%s\t%d\n", s.Segments, formatBytes(s.SegmentBytes), s.LagRecords)
	fmt.Fprintf(table, "segments held for a replay\t%d\t%s\t\n", s.HeldSegments, formatBytes(s.HeldBytes))
	fmt.Fprintf(table, "Parquet partitions\t%d\t%s\t%d\n", s.Partitions, formatBytes(s.PartitionBytes), s.PartitionRows)
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nnext sequence %d, durable to %d, replayable from %d\n", s.Next, s.Durable, s.ReplayFrom)
	if s.LagRecords > 0 {
		fmt.Fprintf(w, "the oldest record that is not in a partition came %v ago\n", (time.Duration(s.CompactLagSecond * float64(time.Second))).Round(time.Second))
	}
	if s.TornSegment != "" {
		fmt.Fprintf(w, "%s ends in %d bytes of a group that is not whole: a server is writing it, or was when it stopped; nothing in them was acknowledged\n", s.TornSegment, s.TornBytes)
	}
	if s.HeldDamage != "" {
		fmt.Fprintf(w, "a held segment is damaged; its records are in partitions: %s\n", s.HeldDamage)
	}
	fmt.Fprintln(w)
	streams := newTable(w, "STREAM\tCOLUMNS")
	for _, stream := range s.Streams {
		fmt.Fprintf(streams, "%s\t%s\n", stream.Name, strings.Join(stream.Columns, ", "))
	}
	return streams.Flush()
}

// repaired is what became of a damaged segment.
type repaired struct {
	Segment string `json:"segment"`
	Damaged string `json:"damaged"`
	Kept    int64  `json:"kept"`
	Lost    int64  `json:"lost"`
}

func (o *featuresOptions) logRepair(ctx context.Context, w io.Writer, dir string, owner *project) error {
	options, err := eventLog(dir, owner)
	if err != nil {
		return err
	}
	done, err := offline.Repair(ctx, options)
	if err != nil {
		return explainState(dir, err, " first")
	}
	all, lost := make([]repaired, len(done)), int64(0)
	for i, r := range done {
		all[i] = repaired(r)
		lost += r.Lost
	}
	err = o.show(w, all, func(w io.Writer) error {
		if len(all) == 0 {
			_, err := fmt.Fprintln(w, "nothing is damaged")
			return err
		}
		table := newTable(w, "SEGMENT\tKEPT\tLOST\tAS IT WAS")
		for _, r := range all {
			fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", r.Segment, r.Kept, r.Lost, r.Damaged)
		}
		return table.Flush()
	})
	if err == nil && lost > 0 {
		err = fmt.Errorf("--state %s: %d records were lost; load or push their events again: those that are there count once", dir, lost)
	}
	return err
}
