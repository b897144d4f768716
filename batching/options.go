// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Limits of Options.
const (
	// RowsMax is the largest MaxRows.
	RowsMax = 1 << 20
	// InstancesMax is the largest number of instances.
	InstancesMax = 1 << 10
	// PriorityLevelsMax is the largest number of priority levels.
	PriorityLevelsMax = 1 << 10
	// DefaultQueueItemsMax is the bound of the queue when none is given.
	DefaultQueueItemsMax = 1 << 16
)

// Options is the policy of one batcher. The zero value dispatches single items on
// one instance.
type Options struct {
	// MaxRows is the largest number of rows of a batch, up to RowsMax. 0 means
	// that the model does not batch: every item is dispatched alone.
	MaxRows int
	// Instances is how many batches run at once. 0 means 1.
	Instances int
	// PreferredSizes are batch sizes, in rows, worth dispatching at without
	// waiting for more. Each is at most MaxRows.
	PreferredSizes []int
	// MaxQueueDelay is how long the oldest item waits for company, though an
	// instance is idle. 0 dispatches at once. An item gives up at most half of the
	// time it has left until its deadline.
	MaxQueueDelay time.Duration
	// PreserveOrdering makes answers leave in the order of arrival. It excludes
	// priority levels and TimeoutDelay, and items are then queued by arrival only.
	// An item refused on arrival (queue full, closed) or cancelled is answered at once.
	PreserveOrdering bool
	// PriorityLevels is the number of levels; 0 means 1.
	PriorityLevels int
	// DefaultPriority is the level of items that ask for none, or for one that
	// does not exist. It must be given where there is more than one level.
	DefaultPriority int
	// Policy is the queue policy of each level that has none in LevelPolicies.
	Policy QueuePolicy
	// LevelPolicies are queue policies by level, from 1.
	LevelPolicies map[int]QueuePolicy
	// LatencyObjective is the latency to aim at for items without a deadline. It
	// shapes batches and refuses nobody. 0 is none.
	LatencyObjective time.Duration
	// QueueItemsMax bounds the queue over all levels; 0 means
	// DefaultQueueItemsMax. With PreserveOrdering it bounds all unanswered items.
	QueueItemsMax int
}

// QueuePolicy bounds the wait of the items of a level.
type QueuePolicy struct {
	// Action is what happens to an item whose timeout is over.
	Action TimeoutAction
	// DefaultTimeout is the longest time in the queue; 0 is no limit.
	DefaultTimeout time.Duration
	// AllowTimeoutOverride lets an item's own Timeout shorten DefaultTimeout, also
	// where that is no limit.
	AllowTimeoutOverride bool
	// MaxQueueSize is the number of items the level may hold; 0 is no limit of its
	// own.
	MaxQueueSize int
}

// TimeoutAction is what happens to an item whose time in the queue is over.
type TimeoutAction uint8

// TimeoutReject answers with ErrTimeout. TimeoutDelay lets the item wait behind
// all others, of every level.
const (
	TimeoutReject TimeoutAction = iota
	TimeoutDelay
)

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Instances == 0 {
		o.Instances = 1
	}
	if o.PriorityLevels == 0 {
		o.PriorityLevels = 1
	}
	if o.PriorityLevels == 1 && o.DefaultPriority == 0 {
		o.DefaultPriority = 1
	}
	if o.QueueItemsMax == 0 {
		o.QueueItemsMax = DefaultQueueItemsMax
	}
}

// Validate reports everything that is wrong, after EnsureDefaults. The error wraps
// ErrInvalidOptions.
func (o *Options) Validate() error {
	var p problems
	p.within("MaxRows", o.MaxRows, 0, RowsMax)
	p.within("Instances", o.Instances, 1, InstancesMax)
	p.within("PriorityLevels", o.PriorityLevels, 1, PriorityLevelsMax)
	p.within("DefaultPriority", o.DefaultPriority, 1, o.PriorityLevels)
	p.within("QueueItemsMax", o.QueueItemsMax, 1, math.MaxInt32)
	p.notNegative("MaxQueueDelay", o.MaxQueueDelay)
	p.notNegative("LatencyObjective", o.LatencyObjective)
	for _, size := range o.PreferredSizes {
		p.within("a size in PreferredSizes", size, 1, o.MaxRows)
	}
	for level := range o.LevelPolicies {
		p.within("a level in LevelPolicies", level, 1, o.PriorityLevels)
	}
	for level := range o.levelCount() {
		o.validatePolicy(level, &p)
	}
	if o.PreserveOrdering && o.PriorityLevels > 1 {
		p.add("PreserveOrdering needs one priority level, PriorityLevels is %d", o.PriorityLevels)
	}
	if len(p) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidOptions, errors.Join(p...))
}

// validatePolicy adds what is wrong with the policy of a level, counted from 0.
func (o *Options) validatePolicy(level int, p *problems) {
	policy := o.policy(level)
	name := fmt.Sprintf("the queue policy of level %d: ", level+1)
	p.notNegative(name+"DefaultTimeout", policy.DefaultTimeout)
	p.within(name+"MaxQueueSize", policy.MaxQueueSize, 0, math.MaxInt)
	p.within(name+"Action", int(policy.Action), int(TimeoutReject), int(TimeoutDelay))
	if o.PreserveOrdering && policy.Action == TimeoutDelay {
		p.add("%sTimeoutDelay changes the order, which PreserveOrdering forbids", name)
	}
}

// problems are what Validate has found so far.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p *problems) within(name string, value, low, high int) {
	if value < low || value > high {
		p.add("%s is %d, it must be %d to %d", name, value, low, high)
	}
}

func (p *problems) notNegative(name string, d time.Duration) {
	if d < 0 {
		p.add("%s is %v, it must not be negative", name, d)
	}
}

// levelCount is the number of levels to look at, whatever was asked for.
func (o *Options) levelCount() int { return max(0, min(o.PriorityLevels, PriorityLevelsMax)) }

// policy is the queue policy of a level, counted from 0.
func (o *Options) policy(level int) QueuePolicy {
	if policy, ok := o.LevelPolicies[level+1]; ok {
		return policy
	}
	return o.Policy
}

// limit is the longest time in the queue for an item that asks for one, 0 for none.
func (p *QueuePolicy) limit(asked time.Duration) time.Duration {
	if p.AllowTimeoutOverride && asked > 0 && (p.DefaultTimeout == 0 || asked < p.DefaultTimeout) {
		return asked
	}
	return p.DefaultTimeout
}
