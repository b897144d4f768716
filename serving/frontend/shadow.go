// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// shadows runs models beside the one that answers, on copies of its vectors, and logs
// their scores.
type shadows struct {
	frontend *Frontend
	queueMax int
	// stream and queue are made by the first shadow there is, before requests can see it.
	stream  *offline.Stream
	queue   chan shadowRun
	running sync.WaitGroup
	// ofPolicy are the shadows of each policy.
	ofPolicy map[*policy.Policy][]*shadow
}

// shadow is a model that runs beside; only the worker uses its binding.
type shadow struct {
	policy.Shadow
	bound *binding
}

type shadowRun struct {
	decision *decision
	shadow   *shadow
	id       string
	at, now  int64
	vectors  plan.Vectors
}

// shadowDeadline bounds one run.
const shadowDeadline = time.Second

// newShadows starts the worker if any policy has shadows.
func newShadows(f *Frontend, queueMax int) (*shadows, error) {
	s := &shadows{frontend: f, queueMax: queueMax, ofPolicy: map[*policy.Policy][]*shadow{}}
	for _, p := range f.options.Policies {
		for i := range p.Shadows {
			s.ofPolicy[p] = append(s.ofPolicy[p], &shadow{Shadow: p.Shadows[i]})
		}
	}
	if len(s.ofPolicy) == 0 {
		return s, nil
	}
	return s, s.start()
}

// start starts the worker unless it works. It is not called twice at once.
func (s *shadows) start() (err error) {
	if s.queue != nil {
		return nil
	}
	if s.stream, err = s.frontend.options.Store.Log().Declare(shadowSchema()); err != nil {
		return err
	}
	s.queue = make(chan shadowRun, s.queueMax)
	s.running.Go(s.work) // ends with close
	return nil
}

// run queues the shadows that see a request.
func (s *shadows) run(q *Request) {
	if !q.features {
		return
	}
	for _, shadow := range s.ofPolicy[q.decision.policy] {
		s.offer(q, shadow)
	}
	if r := q.rollout; r != nil && r.shadow != nil {
		s.offer(q, r.shadow)
	}
}

// offer queues one shadow, if it sees the request.
func (s *shadows) offer(q *Request, shadow *shadow) {
	if !shadow.Sampled(q.answer.PredictionID) {
		return
	}
	r := shadowRun{decision: q.decision, shadow: shadow, id: q.answer.PredictionID, at: q.at, now: q.in.Now}
	r.vectors = plan.Vectors{Rows: 1, Width: q.vectors.Width, Numbers: slices.Clone(q.vectors.Row(0)), TextWidth: q.vectors.TextWidth}
	for _, t := range q.vectors.TextRow(0) {
		r.vectors.Texts = append(r.vectors.Texts, string([]byte(t))) // the vectors' memory is used again
	}
	select {
	case s.queue <- r:
	default:
		s.frontend.counts.shadowDropped.Add(1)
	}
}

// work runs shadows until the queue is closed.
func (s *shadows) work() {
	call := s.frontend.options.Models.NewCall()
	for r := range s.queue {
		score, version, err := s.score(call, &r)
		values := []offline.Value{offline.String(r.decision.policy.Name), offline.String(r.shadow.Model.Name), offline.Int64(version), {}, {}}
		if err != nil {
			s.frontend.counts.shadowFailed.Add(1)
			values[4] = offline.String(err.Error())
		} else if !math.IsNaN(score) {
			values[3] = offline.Float64(score)
		}
		record := offline.Record{ID: r.id, EventTime: max(r.at, 0), ArrivalTime: r.now, Values: values}
		if err := s.stream.Append(context.Background(), &record); err != nil {
			s.frontend.counts.unlogged.Add(1)
		}
	}
}

func (s *shadows) score(call Call, r *shadowRun) (float64, int64, error) {
	m := &r.shadow.Model
	if err := call.Begin(m.Name, m.Version); err != nil {
		return 0, 0, err
	}
	defer call.Release()
	b, version := r.shadow.bound, call.Version()
	if b == nil || !b.fits(call) {
		var err error
		if b, err = newBinding(r.decision.policy.Service, m, call); err != nil {
			return 0, version, err
		}
		r.shadow.bound = b
	}
	if err := b.fill(call, r.decision.policy.Service, &r.vectors, nil); err != nil {
		return 0, version, err
	}
	if err := call.Run(context.Background(), time.Now().Add(shadowDeadline)); err != nil {
		return 0, version, err
	}
	score, err := b.read(call)
	return score, version, err
}

// close runs what is queued and ends the worker. Nothing may be queued any more.
func (s *shadows) close() {
	if s.queue != nil {
		close(s.queue)
	}
	s.running.Wait()
}
