// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FailureReason says why a request failed.
type FailureReason uint8

// The reasons of failed requests.
const (
	// Rejected by the queue: full, or waited too long.
	Rejected FailureReason = iota
	// Canceled by the client.
	Canceled
	// Backend is an error of the model's run.
	Backend
	// Other is everything else, such as a malformed request.
	Other
	reasonCount
)

var reasonNames = [reasonCount]string{"REJECTED", "CANCELED", "BACKEND", "OTHER"}

// String is the reason as the metrics spell it. Unknown reasons count as Other.
func (r FailureReason) String() string { return reasonNames[min(r, Other)] }

// Batch describes one successful run of a model.
type Batch struct {
	Requests, Rows                      int
	InputNanos, InferNanos, OutputNanos int64
}

// BatchingSnapshot is what a model's batcher has counted since it was loaded.
type BatchingSnapshot struct {
	// Pending is how many requests wait in the queue now.
	Pending int
	// Dispatches has each reason once.
	Dispatches []Dispatches
	// Rejections has each cause once.
	Rejections []Rejections
}

// Dispatches counts the batches, and their rows, that left the queue for a reason.
type Dispatches struct {
	Reason        string
	Batches, Rows uint64
}

// Rejections counts the requests that left the queue, or never entered it, for a
// cause other than running.
type Rejections struct {
	Cause    string
	Requests uint64
}

// Model is the statistics of one loaded version.
type Model struct {
	id         ID
	histograms bool
	now        func() time.Time
	laneSet    *laneSet
	lanes      []lane
	sizes      sizeTable
	responses  responses
	descs      [metricCount]*prometheus.Desc

	loadNanos atomic.Int64
	batching  atomic.Pointer[func() BatchingSnapshot]

	_ cacheLine
	// lastInference is in milliseconds since 1970. Instances write it.
	lastInference atomic.Int64
	_             cacheLine
}

func newModel(id ID, r *Registry) *Model {
	m := &Model{
		id:         id,
		histograms: r.options.Histograms,
		now:        r.options.Now,
		laneSet:    r.lanes,
		lanes:      make([]lane, r.lanes.count),
		descs:      newDescs(id),
	}
	m.sizes.lanes = r.lanes.count
	return m
}

// RecordBatch counts a successful run; whoever ran it calls this once. Its
// durations count once for each request of the batch, as each waited for them.
func (m *Model) RecordBatch(b Batch) {
	weight := uint64(max(b.Requests, 0))
	token := m.laneSet.acquire()
	l := &m.lanes[token.index]
	l.input.add(b.InputNanos, weight, m.histograms)
	l.infer.add(b.InferNanos, weight, m.histograms)
	l.output.add(b.OutputNanos, weight, m.histograms)
	m.sizes.at(b.Rows)[token.index].add(b)
	m.laneSet.release(token)

	// Reading first keeps the cache line shared for most of each millisecond.
	if now := m.now().UnixMilli(); m.lastInference.Load() < now {
		m.lastInference.Store(now)
	}
}

// RecordRequest counts a successful request, with the time from its receipt to
// its reply and the part of that spent in the queue.
func (m *Model) RecordRequest(totalNanos, queueNanos int64) {
	token := m.laneSet.acquire()
	l := &m.lanes[token.index]
	l.request.add(totalNanos, 1, m.histograms)
	l.queue.add(queueNanos, 1, m.histograms)
	m.laneSet.release(token)
}

// RecordFailure counts a failed request, with the time since its receipt.
func (m *Model) RecordFailure(reason FailureReason, totalNanos int64) {
	token := m.laneSet.acquire()
	l := &m.lanes[token.index]
	l.failures[min(reason, Other)].Add(1)
	l.failureNanos.Add(uint64(max(totalNanos, 0)))
	m.laneSet.release(token)
}

// RecordResponse counts one response of a decoupled model: its index among the
// responses to its request, and the time since that was received.
func (m *Model) RecordResponse(index int, elapsedNanos int64) {
	m.responses.add(index, elapsedNanos)
}

// SetLoadDuration sets how long the load took.
func (m *Model) SetLoadDuration(d time.Duration) { m.loadNanos.Store(int64(d)) }

// SetBatching sets where the batcher's counts are read. read is called on each
// scrape, from any goroutine, and may still be running shortly after Close.
func (m *Model) SetBatching(read func() BatchingSnapshot) { m.batching.Store(&read) }

// batchingNow is the batcher's counts, all zero where there is no batcher.
func (m *Model) batchingNow() BatchingSnapshot {
	if read := m.batching.Load(); read != nil {
		return (*read)()
	}
	return BatchingSnapshot{}
}
