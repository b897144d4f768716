// SPDX-License-Identifier: Apache-2.0

package vectors

import (
	"context"
	"errors"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Freshness says how long ago the newest event of a source happened.
type Freshness struct {
	Source string
	// Within is the least of a few durations that has one; 0 is none within the longest.
	Within time.Duration
}

// reaches are how far back newer and newer events are looked for.
var reaches = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// freshness asks the log for one event of each source in each reach, the nearest first.
func freshness(ctx context.Context, s Store, now int64) ([]Freshness, error) {
	var all []Freshness
	for _, source := range s.Catalog().Sources {
		f := Freshness{Source: source.Name}
		for _, reach := range reaches {
			some, err := anyEvent(ctx, s.Log(), plan.StreamPrefix+source.Name, now-reach.Microseconds())
			if err != nil {
				return nil, err
			}
			if some {
				f.Within = reach
				break
			}
		}
		all = append(all, f)
	}
	return all, nil
}

func anyEvent(ctx context.Context, log *offline.Log, stream string, from int64) (bool, error) {
	scan, err := log.Scan(ctx, offline.Query{Stream: stream, Columns: []string{}, Versions: offline.AllVersions, From: max(from, 0)})
	if errors.Is(err, offline.ErrUnknownStream) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	some := scan.Next()
	return some, errors.Join(scan.Err(), scan.Close())
}
