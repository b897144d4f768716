// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// FoundMax is how many versions Find returns.
const FoundMax = 1000

// FindAge is how far back Find looks by itself.
const FindAge = 90 * 24 * time.Hour

// Find asks for what was said.
type Find struct {
	// PredictionID or FeedbackID is looked for, one of them. Feedback by entity has no
	// prediction id.
	PredictionID, FeedbackID string
	// From and To bound the event time, in microseconds: From is included, To is not.
	// From 0 is FindAge ago, To 0 no bound. The stream is read between them.
	From, To int64
	// AsOf is the instant as of which, in microseconds; 0 is now.
	AsOf int64
}

// Find lists the versions of feedback by arrival, oldest first. Of more than FoundMax it
// has the newest, and says so.
func (c *Collector) Find(ctx context.Context, q Find) (versions []Outcome, truncated bool, err error) {
	if (q.PredictionID == "") == (q.FeedbackID == "") {
		return nil, false, fmt.Errorf("%w: prediction_id and feedback_id: give one of them", ErrInvalid)
	}
	if q.From == 0 {
		q.From = max(0, micros(c.options.Now().Add(-FindAge)))
	}
	scan, err := c.options.Log.Scan(ctx, offline.Query{Stream: OutcomeStream, Columns: outcomeNames(), From: q.From, To: q.To, AsOf: q.AsOf, Versions: offline.AllVersions})
	if errors.Is(err, offline.ErrInvalidQuery) {
		return nil, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	} else if err != nil {
		return nil, false, err
	}
	defer scan.Close()
	for scan.Next() {
		r := scan.Record()
		if (q.PredictionID != "" && r.Values[outPrediction].Text() != q.PredictionID) || (q.FeedbackID != "" && r.Values[outFeedback].Text() != q.FeedbackID) {
			continue
		}
		var o Outcome
		if err := decodeOutcome(r, &o); err != nil {
			return nil, false, fmt.Errorf("feedback %.80q: %w", r.ID, err)
		}
		versions = append(versions, o)
		if len(versions) == 2*FoundMax {
			versions, truncated = newest(versions), true
		}
	}
	if len(versions) > FoundMax {
		truncated = true
	}
	return newest(versions), truncated, scan.Err()
}

// newest are the last ones by arrival, FoundMax at most, in that order.
func newest(all []Outcome) []Outcome {
	slices.SortFunc(all, func(a, b Outcome) int {
		return compareInts(a.Arrival, b.Arrival, int64(a.Sequence), int64(b.Sequence))
	})
	return slices.Clone(all[max(0, len(all)-FoundMax):])
}
