// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine/repository"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// adminService is Millrace's own administration of models.
type adminService struct {
	millracev1.UnimplementedAdminServer
	server *Server
}

// LoadVersion loads one version beside those that are served.
func (a *adminService) LoadVersion(ctx context.Context, q *millracev1.LoadVersionRequest) (*millracev1.LoadVersionResponse, error) {
	steps, err := a.server.repository.LoadVersion(ctx, q.Model, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	return &millracev1.LoadVersionResponse{Steps: stepMessages(steps), AlreadyReady: len(steps) == 0}, nil
}

// SwapVersion replaces the current version without refusing a request.
func (a *adminService) SwapVersion(ctx context.Context, q *millracev1.SwapVersionRequest) (*millracev1.SwapVersionResponse, error) {
	result, err := a.server.repository.SwapVersion(ctx, q.Model, q.Version, q.KeepOld)
	if err != nil {
		return nil, toError(err)
	}
	return swapMessage(q.Model, result), nil
}

// Rollback swaps back to the version that was current before.
func (a *adminService) Rollback(ctx context.Context, q *millracev1.RollbackRequest) (*millracev1.SwapVersionResponse, error) {
	result, err := a.server.repository.Rollback(ctx, q.Model)
	if err != nil {
		return nil, toError(err)
	}
	return swapMessage(q.Model, result), nil
}

// UnloadVersion unloads one version and answers when its memory is released.
func (a *adminService) UnloadVersion(ctx context.Context, q *millracev1.UnloadVersionRequest) (*millracev1.UnloadVersionResponse, error) {
	steps, err := a.server.repository.UnloadVersion(ctx, q.Model, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	return &millracev1.UnloadVersionResponse{Steps: stepMessages(steps)}, nil
}

// SetAlias points an alias at a version, or removes it.
func (a *adminService) SetAlias(ctx context.Context, q *millracev1.SetAliasRequest) (*millracev1.SetAliasResponse, error) {
	before, err := a.server.repository.Aliases(q.Model)
	if err != nil {
		return nil, toError(err)
	}
	if err := a.server.repository.SetAlias(ctx, q.Model, q.Alias, q.Version); err != nil {
		return nil, toError(err)
	}
	return &millracev1.SetAliasResponse{PreviousVersion: before[q.Alias]}, nil
}

// ListAliases lists the aliases of one model, or of all.
func (a *adminService) ListAliases(_ context.Context, q *millracev1.ListAliasesRequest) (*millracev1.ListAliasesResponse, error) {
	models, err := a.models(q.Model)
	if err != nil {
		return nil, err
	}
	answer := &millracev1.ListAliasesResponse{}
	for _, m := range models {
		for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
			answer.Aliases = append(answer.Aliases, &millracev1.Alias{Model: m.Name, Alias: alias, Version: m.Aliases[alias]})
		}
	}
	return answer, nil
}

// models is the one model of that name, or every model for an empty name.
func (a *adminService) models(name string) ([]repository.ModelInfo, error) {
	models := a.server.repository.Models()
	if name == "" {
		return models, nil
	}
	for i := range models {
		if models[i].Name == name {
			return models[i : i+1], nil
		}
	}
	return nil, &Error{codes.NotFound, fmt.Sprintf("model '%s' was never loaded", name)}
}

// ListModels describes each version of one model, or of all.
func (a *adminService) ListModels(_ context.Context, q *millracev1.ListModelsRequest) (*millracev1.ListModelsResponse, error) {
	models, err := a.models(q.Model)
	if err != nil {
		return nil, err
	}
	answer := &millracev1.ListModelsResponse{}
	for _, m := range models {
		for _, v := range m.Versions {
			answer.Versions = append(answer.Versions, a.versionMessage(m.Name, &v))
		}
		if len(m.Versions) == 0 && m.Fault != "" {
			answer.Versions = append(answer.Versions, &millracev1.ModelVersion{Model: m.Name, State: repository.StateUnavailable.String(), Reason: m.Fault})
		}
	}
	return answer, nil
}

func (a *adminService) versionMessage(model string, v *repository.VersionInfo) *millracev1.ModelVersion {
	message := &millracev1.ModelVersion{
		Model: model, Version: v.Number, State: v.State.String(), Reason: v.Reason, Current: v.Current,
		Aliases: v.Aliases, InFlight: v.InFlight, LoadMicros: v.LoadDuration.Microseconds(),
	}
	if v.State != repository.StateReady {
		return message
	}
	message.LoadedUnixMillis = v.LoadedAt.UnixMilli()
	if held, err := a.server.repository.Acquire(model, strconv.FormatInt(v.Number, 10)); err == nil {
		message.Backend, message.Instances = held.Config.Backend, int32(len(held.Instances))
		held.Release()
	}
	return message
}

// ExplainBatching says why the batches of a model have the size they have.
func (a *adminService) ExplainBatching(_ context.Context, q *millracev1.ExplainBatchingRequest) (*millracev1.ExplainBatchingResponse, error) {
	version := ""
	if q.Version != 0 {
		version = fmt.Sprint(q.Version)
	}
	v, err := a.server.repository.Acquire(q.Model, version)
	if err != nil {
		return nil, toError(err)
	}
	defer v.Release()
	m := v.Attachment.(*servedModel)
	answer := &millracev1.ExplainBatchingResponse{Model: v.Model, Version: v.Number, Instances: int32(len(v.Instances))}
	if m.batcher == nil {
		answer.Summary = "The model is decoupled: each request runs alone."
		return answer, nil
	}
	explainBatching(answer, m, m.batcher.Stats())
	return answer, nil
}

func explainBatching(answer *millracev1.ExplainBatchingResponse, m *servedModel, s batching.Stats) {
	answer.MaxBatchSize = int32(m.maxBatchSize)
	answer.Queued = int64(s.QueuedItems)
	answer.RejectedQueueFull = int64(s.QueueFull)
	answer.RejectedDeadline = int64(s.DeadlineMissed + s.TimedOut)
	answer.Cancelled = int64(s.Cancelled)
	for _, reason := range batching.Reasons() {
		count := s.Reasons[reason]
		answer.Reasons = append(answer.Reasons, &millracev1.DispatchReason{
			Reason: reason.String(), Meaning: reason.Meaning(), Dispatches: int64(count.Batches), Rows: int64(count.Rows),
		})
	}
	for _, size := range s.Sizes {
		answer.Latencies = append(answer.Latencies, &millracev1.LearnedLatency{
			Rows: int32(size.RowsMax), MeanMicros: size.Mean.Microseconds(), PlannedMicros: size.Planned.Microseconds(), Observations: int64(size.Runs),
		})
	}
	for _, size := range m.snapshot().Batches {
		answer.BatchSizes = append(answer.BatchSizes, &millracev1.BatchSize{Rows: int32(size.Size), Dispatches: int64(size.Runs)})
	}
	answer.Summary = batchingSummary(m, s)
}

// batchingSummary says the most important thing about a model's batches to a person.
func batchingSummary(m *servedModel, s batching.Stats) string {
	var batches, rows, most uint64
	main := batching.ReasonIdle
	for _, reason := range batching.Reasons() {
		count := s.Reasons[reason]
		batches, rows = batches+count.Batches, rows+count.Rows
		if count.Batches > most {
			most, main = count.Batches, reason
		}
	}
	if batches == 0 {
		return "Nothing was run since the version was loaded."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs of %.1f rows on average. %.0f %% of them: %s", batches, float64(rows)/float64(batches), 100*float64(most)/float64(batches), main.Meaning())
	switch main {
	case batching.ReasonIdle:
		fmt.Fprintf(&b, " Requests come slower than the %d instances run them, so batches need not grow; to force larger ones, set max_queue_delay_microseconds or fewer instances.", len(m.instances))
	case batching.ReasonSingle:
		b.WriteString(" To batch, set max_batch_size and dynamic_batching in its configuration.")
	case batching.ReasonDeadline:
		b.WriteString(" Looser deadlines or a larger latency objective would allow larger batches.")
	case batching.ReasonGroup:
		b.WriteString(" Requests of equal shapes would share batches.")
	}
	return b.String()
}

func swapMessage(model string, r repository.SwapResult) *millracev1.SwapVersionResponse {
	var total time.Duration
	for _, step := range r.Steps {
		total += step.Duration
	}
	return &millracev1.SwapVersionResponse{Model: model, FromVersion: r.From, ToVersion: r.To, Steps: stepMessages(r.Steps), TotalMicros: total.Microseconds()}
}

func stepMessages(steps []repository.Step) []*millracev1.Step {
	var messages []*millracev1.Step
	for _, s := range steps {
		messages = append(messages, &millracev1.Step{Name: s.Name, Micros: s.Duration.Microseconds(), Detail: s.Detail})
	}
	return messages
}
