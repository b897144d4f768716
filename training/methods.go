// SPDX-License-Identifier: Apache-2.0

package training

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/training/baseline"
	"github.com/millrace-ml/millrace/training/blend"
	"github.com/millrace-ml/millrace/training/command"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear"
	"github.com/millrace-ml/millrace/training/neural"
	"github.com/millrace-ml/millrace/training/trees"
)

// Methods are all ways to learn, in the order of their documentation.
func Methods() []*learn.Method {
	boosted := trees.Method()
	methods := slices.Concat(baseline.Methods(), linear.Methods(),
		[]*learn.Method{&boosted, neural.Method(), command.Method()})
	return append(methods, blend.Method(methods))
}

// methodFor finds the method of a name for a task.
func methodFor(name string, task learn.Task) (*learn.Method, error) {
	var names []string
	for _, m := range Methods() {
		if m.Name != name {
			names = append(names, m.Name)
			continue
		}
		if !slices.Contains(m.Tasks, task) {
			return nil, fmt.Errorf("method %s does not learn the task %s", name, task)
		}
		return m, nil
	}
	return nil, fmt.Errorf("no method %q: there are %s", name, strings.Join(names, ", "))
}
