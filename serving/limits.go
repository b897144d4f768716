// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// Limits bound what clients can make the server hold. Zero values mean defaults.
type Limits struct {
	// StreamInFlight is how many requests of one stream may be unanswered. Default 512.
	StreamInFlight int
	// QueueItemsMax is how many requests may wait for one model version when its
	// configuration sets no max_queue_size. Default 65,536.
	QueueItemsMax int
	// MessageBytesMax is the largest message, in either direction. Default 2 GiB - 1.
	MessageBytesMax int
	// LatencyObjective is the latency that batches are sized for when a model's
	// configuration names none. 0 is no objective: only deadlines limit a batch.
	LatencyObjective time.Duration
}

// EnsureDefaults replaces zero values.
func (l *Limits) EnsureDefaults() {
	if l.StreamInFlight == 0 {
		l.StreamInFlight = 512
	}
	if l.QueueItemsMax == 0 {
		l.QueueItemsMax = 1 << 16
	}
	if l.MessageBytesMax == 0 {
		l.MessageBytesMax = 1<<31 - 1
	}
}

// Validate reports values out of range.
func (l *Limits) Validate() error {
	if l.StreamInFlight < 1 || l.QueueItemsMax < 1 || l.MessageBytesMax < 1 || l.LatencyObjective < 0 {
		return fmt.Errorf("limits must be positive: %+v", *l)
	}
	return nil
}

// batcherOptions translates a model's configuration for its batcher. A model
// without dynamic_batching still gets a queue, with batches of one request: its
// deadlines, cancellations and bounds then work the same.
func batcherOptions(c *modelconfig.Config, instances int, limits Limits) (batching.Options, error) {
	objective, err := c.DurationMillisParameter("latency_objective_ms", limits.LatencyObjective)
	if err != nil {
		return batching.Options{}, err
	}
	o := batching.Options{
		Instances:        instances,
		LatencyObjective: objective,
		QueueItemsMax:    limits.QueueItemsMax,
	}
	d := c.DynamicBatching
	if d == nil {
		return o, nil
	}
	o.MaxRows = int(c.MaxBatchSize)
	o.MaxQueueDelay = time.Duration(d.MaxQueueDelayMicroseconds) * time.Microsecond
	o.PreserveOrdering = d.PreserveOrdering
	o.PriorityLevels = int(d.PriorityLevels)
	o.DefaultPriority = int(d.DefaultPriorityLevel)
	for _, size := range d.PreferredBatchSize {
		o.PreferredSizes = append(o.PreferredSizes, int(size))
	}
	if d.DefaultQueuePolicy != nil {
		o.Policy = queuePolicy(*d.DefaultQueuePolicy)
	}
	for level, policy := range d.PriorityQueuePolicy {
		if o.LevelPolicies == nil {
			o.LevelPolicies = map[int]batching.QueuePolicy{}
		}
		o.LevelPolicies[int(level)] = queuePolicy(policy)
	}
	return o, nil
}

func queuePolicy(p modelconfig.QueuePolicy) batching.QueuePolicy {
	policy := batching.QueuePolicy{
		DefaultTimeout:       timeoutOf(p.DefaultTimeoutMicroseconds),
		AllowTimeoutOverride: p.AllowTimeoutOverride,
		MaxQueueSize:         int(p.MaxQueueSize),
	}
	if p.TimeoutAction == modelconfig.Delay {
		policy.Action = batching.TimeoutDelay
	}
	return policy
}
