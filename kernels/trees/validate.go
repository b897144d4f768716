// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"errors"
	"fmt"
	"math"
)

// ErrInvalid is wrapped by every error about what an Ensemble holds.
var ErrInvalid = errors.New("invalid tree ensemble")

// The most that an ensemble may have of anything. Memory follows the features and the
// targets in a Scratch, and the nodes in a Forest.
const (
	FeaturesMax = 1 << 24
	TargetsMax  = 1 << 16
	NodesMax    = 1 << 28
)

// Validate reports an error, which wraps ErrInvalid and names tree and node, unless
// every tree is a tree: indices in range, no node reached twice, thresholds that order.
// Nodes that no root leads to are checked for their indices only.
func (e *Ensemble) Validate() error {
	if err := e.validateSizes(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for i := range e.Nodes {
		if err := e.validateNode(&e.Nodes[i]); err != nil {
			return fmt.Errorf("%w: node %d: %w", ErrInvalid, i, err)
		}
	}
	for i := range e.Leaves {
		if err := e.validateLeaf(&e.Leaves[i]); err != nil {
			return fmt.Errorf("%w: leaf %d: %w", ErrInvalid, i, err)
		}
	}
	return e.validateTrees()
}

func (e *Ensemble) validateSizes() error {
	switch {
	case e.Features < 0 || e.Features > FeaturesMax:
		return fmt.Errorf("%d features, at most %d", e.Features, FeaturesMax)
	case e.Targets < 1 || e.Targets > TargetsMax:
		return fmt.Errorf("%d targets, 1 to %d", e.Targets, TargetsMax)
	case len(e.Nodes) > NodesMax || len(e.Leaves) > NodesMax || len(e.Roots) > NodesMax:
		return fmt.Errorf("%d nodes, %d leaves and %d trees, at most %d of each", len(e.Nodes), len(e.Leaves), len(e.Roots), NodesMax)
	case e.Aggregate >= aggregates:
		return fmt.Errorf("aggregate %d is not known", e.Aggregate)
	case e.Base != nil && len(e.Base) != e.Targets:
		return fmt.Errorf("%d base values for %d targets", len(e.Base), e.Targets)
	}
	return nil
}

func (e *Ensemble) validateNode(n *Node) error {
	switch {
	case n.Feature < 0 || int(n.Feature) >= e.Features:
		return fmt.Errorf("feature %d of %d", n.Feature, e.Features)
	case n.Compare >= compares:
		return fmt.Errorf("comparison %d is not known", n.Compare)
	case n.Compare != Member && math.IsNaN(n.Threshold):
		return errors.New("the threshold is NaN")
	case n.Compare != Member && len(n.Members) > 0:
		return fmt.Errorf("%d members where none are compared with", len(n.Members))
	case !e.within(n.True):
		return fmt.Errorf("true branch: %s", e.outside(n.True))
	case !e.within(n.False):
		return fmt.Errorf("false branch: %s", e.outside(n.False))
	}
	for i, m := range n.Members {
		if math.IsNaN(m) {
			return fmt.Errorf("member %d is NaN", i)
		}
	}
	return nil
}

func (e *Ensemble) validateLeaf(l *Leaf) error {
	for i, w := range l.Weights {
		switch {
		case w.Target < 0 || int(w.Target) >= e.Targets:
			return fmt.Errorf("weight %d: target %d of %d", i, w.Target, e.Targets)
		case math.IsNaN(w.Value) && (e.Aggregate == Min || e.Aggregate == Max):
			return fmt.Errorf("weight %d: NaN has no order", i)
		}
	}
	return nil
}

// within tells whether a child or root names a node or leaf there is.
func (e *Ensemble) within(at int32) bool {
	if at < 0 {
		return int(^at) < len(e.Leaves)
	}
	return int(at) < len(e.Nodes)
}

func (e *Ensemble) outside(at int32) string {
	if at < 0 {
		return fmt.Sprintf("leaf %d of %d", ^at, len(e.Leaves))
	}
	return fmt.Sprintf("node %d of %d", at, len(e.Nodes))
}

// validateTrees follows every tree and reports nodes reached twice: by a cycle, by two
// branches, or by two trees.
func (e *Ensemble) validateTrees() error {
	reached := make([]bool, len(e.Nodes))
	var todo []int32
	for tree, root := range e.Roots {
		if !e.within(root) {
			return fmt.Errorf("%w: tree %d: the root is %s", ErrInvalid, tree, e.outside(root))
		}
		for todo = append(todo[:0], root); len(todo) > 0; {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if at < 0 {
				continue
			}
			if reached[at] {
				return fmt.Errorf("%w: tree %d: node %d is reached more than once", ErrInvalid, tree, at)
			}
			reached[at] = true
			todo = append(todo, e.Nodes[at].True, e.Nodes[at].False)
		}
	}
	return nil
}
