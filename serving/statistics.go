// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"strconv"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/proto/inference"
	"github.com/millrace-ml/millrace/serving/stats"
)

// ModelStatistics answers the statistics of one version, of all versions of a
// model, or of everything.
func (i *inferenceService) ModelStatistics(_ context.Context, q *inference.ModelStatisticsRequest) (*inference.ModelStatisticsResponse, error) {
	answer, err := i.server.modelStatistics(q.Name, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	return answer, nil
}

func (s *Server) modelStatistics(model, version string) (*inference.ModelStatisticsResponse, error) {
	number := int64(0)
	if version != "" {
		v, err := s.repository.Acquire(model, version)
		if err != nil {
			return nil, invalidArgument("requested model version is not available for model '%s'", model)
		}
		number = v.Number
		v.Release()
	}
	answer := &inference.ModelStatisticsResponse{}
	for _, snapshot := range s.stats.Snapshot(model) {
		if number == 0 || snapshot.Version == number {
			answer.ModelStats = append(answer.ModelStats, statisticsMessage(&snapshot))
		}
	}
	if model != "" && len(answer.ModelStats) == 0 {
		return nil, invalidArgument("requested model '%s' is not available", model)
	}
	return answer, nil
}

// snapshot is the statistics of this version.
func (m *servedModel) snapshot() stats.ModelSnapshot {
	for _, s := range m.registry.Snapshot(m.name) {
		if s.Version == m.version.Number {
			return s
		}
	}
	return stats.ModelSnapshot{}
}

func statisticsMessage(s *stats.ModelSnapshot) *inference.ModelStatistics {
	m := &inference.ModelStatistics{
		Name: s.Model, Version: strconv.FormatInt(s.Version, 10), LastInference: s.LastInferenceMillis,
		InferenceCount: s.InferenceCount, ExecutionCount: s.ExecutionCount,
		InferenceStats: &inference.InferStatistics{
			Success: durationMessage(s.Success), Fail: durationMessage(s.Fail), Queue: durationMessage(s.Queue),
			ComputeInput: durationMessage(s.ComputeInput), ComputeInfer: durationMessage(s.ComputeInfer), ComputeOutput: durationMessage(s.ComputeOutput),
			CacheHit: &inference.StatisticDuration{}, CacheMiss: &inference.StatisticDuration{},
		},
	}
	for _, b := range s.Batches {
		m.BatchStats = append(m.BatchStats, &inference.InferBatchStatistics{
			BatchSize:     uint64(b.Size),
			ComputeInput:  &inference.StatisticDuration{Count: b.Runs, Ns: b.InputNanos},
			ComputeInfer:  &inference.StatisticDuration{Count: b.Runs, Ns: b.InferNanos},
			ComputeOutput: &inference.StatisticDuration{Count: b.Runs, Ns: b.OutputNanos},
		})
	}
	for index, d := range s.Responses {
		if m.ResponseStats == nil {
			m.ResponseStats = map[string]*inference.InferResponseStatistics{}
		}
		m.ResponseStats[strconv.Itoa(index)] = &inference.InferResponseStatistics{ComputeInfer: durationMessage(d), Success: durationMessage(d)}
	}
	return m
}

func durationMessage(d stats.Duration) *inference.StatisticDuration {
	return &inference.StatisticDuration{Count: d.Count, Ns: d.Nanos}
}

// batchingSnapshot gives the metrics what the batcher has counted.
func (m *servedModel) batchingSnapshot() stats.BatchingSnapshot {
	s := m.batcher.Stats()
	snapshot := stats.BatchingSnapshot{
		Pending: s.QueuedItems,
		Rejections: []stats.Rejections{
			{Cause: "queue_full", Requests: s.QueueFull},
			{Cause: "deadline", Requests: s.DeadlineMissed},
			{Cause: "timeout", Requests: s.TimedOut},
			{Cause: "cancelled", Requests: s.Cancelled},
		},
	}
	for _, reason := range batching.Reasons() {
		count := s.Reasons[reason]
		snapshot.Dispatches = append(snapshot.Dispatches, stats.Dispatches{Reason: reason.String(), Batches: count.Batches, Rows: count.Rows})
	}
	return snapshot
}
