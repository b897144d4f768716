// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Imported is an annotation that was made elsewhere.
type Imported struct {
	Submission
	// At is when it was made; zero is now. It must not be in the future.
	At time.Time
	// Review makes it the final word on the task; Skip a skip; Retract takes back what the
	// annotator said of it. At most one of them.
	Review, Skip, Retract bool
}

// Import takes annotations that were made elsewhere, for which no lease is needed. One
// that is there already is passed over. On an error those before it are stored; the error
// says which one it was, by its place.
func (s *Store) Import(ctx context.Context, all []Imported) (n int, err error) {
	var seq, last uint64
	pending := 0
	for i := range all {
		if last, err = s.importOne(ctx, &all[i]); err != nil {
			err = fmt.Errorf("annotations[%d]: %w", i, err)
			break
		}
		n, seq, pending = i+1, max(seq, last), pending+all[i].Value.bytes()
		if pending < chunkBytes {
			continue
		}
		if err = s.durable(ctx, seq); err != nil {
			return n, err
		}
		pending = 0
	}
	return n, errors.Join(err, s.durable(ctx, seq))
}

func (s *Store) importOne(ctx context.Context, in *Imported) (uint64, error) {
	if err := checkPerson(in.Annotator); err != nil {
		return 0, err
	}
	if now := s.now(); in.At.After(now) || !in.At.IsZero() && in.At.Year() < 1970 {
		return 0, fmt.Errorf("%w time: %s is before 1970 or after now, %s", ErrInvalid, in.At.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	kind := KindAnnotation
	switch {
	case in.Review && in.Skip || in.Retract && (in.Review || in.Skip):
		return 0, fmt.Errorf("%w: an annotation is one of review, skip and retract at once", ErrInvalid)
	case in.Retract:
		kind = KindRetracted
	case in.Review:
		kind = KindReview
	case in.Skip:
		kind = KindSkip
	}
	_, seq, err := s.tellLocked(ctx, &in.Submission, told{kind: kind, review: in.Review, imported: true, at: in.At})
	return seq, err
}
