// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// The demo's people label over the interface that people use. Each takes some tasks, finds
// out the truth as somebody would who asks the card's owner, and is wrong now and then. They
// leave tasks over, for whoever sits at the console.

const (
	// annotateEvery is how often they take tasks, annotateTasks how many at once, and
	// annotateWrong which share of answers is wrong.
	annotateEvery = 300 * time.Millisecond
	annotateTasks = 5
	annotateWrong = 0.04
	// annotateProject is where they work.
	annotateProject = "review"
	// annotateTimeout bounds a request, annotateBytesMax its answer.
	annotateTimeout  = 5 * time.Second
	annotateBytesMax = 1 << 20
)

var annotators = []string{"demo-ann", "demo-ben"}

// annotate labels until ctx ends. A request that fails is tried again later, with other
// tasks if the lease is over by then.
func (d *demo) annotate(ctx context.Context) {
	if len(d.up.project.Labeling) == 0 {
		return
	}
	ticker := time.NewTicker(annotateEvery)
	defer ticker.Stop()
	failed := ""
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := d.annotateSome(ctx, annotators[turn%len(annotators)])
		if err != nil && ctx.Err() == nil && err.Error() != failed {
			failed = err.Error()
			d.up.log.Warn("the demo's people cannot label", "error", err)
		}
	}
}

// annotateTask is a task as the interface hands it out.
type annotateTask struct {
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
}

func (d *demo) annotateSome(ctx context.Context, who string) error {
	var leased struct {
		Tasks []annotateTask `json:"tasks"`
	}
	if err := d.ask(ctx, "lease", map[string]any{"annotator": who, "count": annotateTasks}, &leased); err != nil {
		return err
	}
	for _, t := range leased.Tasks {
		id, ok := paymentOf(t.Data)
		if !ok {
			return fmt.Errorf("task %s does not say which payment it is about", t.ID)
		}
		in := map[string]any{"annotator": who, "task": t.ID, "value": labeling.Value{Choices: []string{d.opinion(who, t.ID, id)}}, "lead_ms": 2000}
		if err := d.ask(ctx, "annotations", in, nil); err != nil {
			return err
		}
		if n := d.annotated.Add(1); n == 1 {
			d.tell(storyEvent{Key: "labels", Time: d.up.clock.now(), Kind: storyLabels,
				Text: "people label what the model is least sure of; you may, too", Link: "/console/labeling"})
		}
	}
	return nil
}

// paymentOf finds which payment a task is about.
func paymentOf(data json.RawMessage) (int64, bool) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return 0, false
	}
	n, ok := fields["transaction_id"].(json.Number)
	if !ok {
		return 0, false
	}
	id, err := n.Int64()
	return id, err == nil
}

// opinion is what somebody says of a payment: mostly what is so, and the same when asked
// again.
func (d *demo) opinion(who, task string, payment int64) string {
	h := fnv.New32a()
	fmt.Fprint(h, who, " ", task)
	wrong := float64(h.Sum32()%10_000) < annotateWrong*10_000
	if d.truth.fraud(payment) != wrong {
		return "fraud"
	}
	return "genuine"
}

// ask posts to the labelling interface of the server.
func (d *demo) ask(ctx context.Context, what string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, annotateTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := "http://" + reachable(d.up.parts.http) + "/v1/labeling/projects/" + annotateProject + "/" + what
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, annotateBytesMax))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, firstLine(string(text), 300))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
