// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/featurestore/plan"
)

const (
	// RowsMax is the largest number of rows of one read.
	RowsMax = 100_000
	// ValuesMax is the largest number of values of one read: rows by features.
	ValuesMax = 1 << 24
)

// Service returns what computes the vectors of a service.
func (s *Store) Service(name string) (*plan.Assembler, error) {
	service := s.catalog.Service(name)
	if service == nil {
		return nil, fmt.Errorf("feature service %q: %w", name, ErrUnknown)
	}
	return s.services[service.Index], nil
}

// Read computes the vectors of a service for the rows asked for, in one pass over the
// states. An entity of which nothing is known is no error: its features have the
// status NotFound and their defaults. in.Now is set if it is zero.
//
// Errors: plan.ErrInputs, and those of the store of states, such as Redis being away.
func (s *Store) Read(ctx context.Context, service *plan.Assembler, in *plan.Inputs, out *plan.Vectors) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if in.Rows > RowsMax {
		return fmt.Errorf("%w: %d rows, at most %d", plan.ErrInputs, in.Rows, RowsMax)
	}
	if n := len(service.Service().Features); in.Rows*n > ValuesMax {
		return fmt.Errorf("%w: %d rows of %d features, at most %d values at once", plan.ErrInputs, in.Rows, n, ValuesMax)
	}
	if in.Now == 0 {
		in.Now = s.Now()
	}
	reader := s.readers.Get().(plan.Reader)
	defer s.readers.Put(reader)
	s.counts.reads.Add(1)
	s.counts.rows.Add(int64(in.Rows))
	began := time.Now()
	if err := service.Assemble(ctx, reader, in, out); err != nil {
		return err
	}
	s.counts.readTimes.Observe(time.Since(began))
	return nil
}
