// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// labelDesk is the labelling of a project over its event log: that of a server, or of a
// command that has the log to itself. Its methods may be called at once; selections wait
// for each other.
type labelDesk struct {
	log      *offline.Log
	store    *labeling.Store
	projects []*labelingProject
	policies []*policy.Policy
	labels   []*groundtruth.Definition
	now      func() time.Time
	leaseNow func() time.Time // the clock of leases; nil is now
	// weights are those of slices by a monitor's newest report; nil knows none.
	weights func(monitor string) (map[string]float64, error)

	selections *offline.Stream
	selecting  sync.Mutex // held by one selection at a time
	mu         struct {
		sync.Mutex
		// last has the end of the newest selection by plan, by project.
		last map[string]time.Time
	}
}

// openLabelDesk opens the labelling of a log, defines the projects as they are written, and
// ends selections that a crash cut short.
func openLabelDesk(ctx context.Context, d *labelDesk) (err error) {
	for _, p := range d.projects {
		if err := p.settle(d.labels); err != nil {
			return err
		}
	}
	if d.store, err = labeling.Open(ctx, labeling.Options{Log: d.log, Now: d.now, LeaseNow: d.leaseNow}); err != nil {
		return err
	}
	for _, p := range d.projects {
		if err := d.store.Define(ctx, p.Project); err != nil {
			return fmt.Errorf("%s: labeling.%s: %w", p.file, p.Name, err)
		}
	}
	if d.selections, err = d.log.Declare(selectionSchema()); err != nil {
		return err
	}
	return d.resume(ctx)
}

// project finds a project of the files.
func (d *labelDesk) project(name string) (*labelingProject, error) {
	i := slices.IndexFunc(d.projects, func(p *labelingProject) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w %.80q: the project's files have %s", labeling.ErrUnknownProject, name, strings.Join(d.names(), ", "))
	}
	return d.projects[i], nil
}

func (d *labelDesk) names() []string {
	var all []string
	for _, p := range d.projects {
		all = append(all, p.Name)
	}
	return all
}

func (d *labelDesk) policy(decision string) *policy.Policy {
	i := slices.IndexFunc(d.policies, func(p *policy.Policy) bool { return p.Name == decision })
	if i < 0 {
		return nil
	}
	return d.policies[i]
}

// isTask tells whether a project has a task of that id.
func (d *labelDesk) isTask(project, id string) bool {
	_, err := d.store.Task(project, id)
	return !errors.Is(err, labeling.ErrUnknownTask)
}

// streamColumns are the columns of a stream, nil if the log has none of that name.
func streamColumns(log *offline.Log, stream string) []string {
	var names []string
	for _, s := range log.Streams() {
		if s.Stream == stream {
			for _, c := range s.Columns {
				names = append(names, c.Name)
			}
		}
	}
	return names
}
