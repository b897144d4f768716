// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/notify"
)

// alarmHook tells a web service of a monitor's alarms, one after the other. What was not
// told when the process ended is told by the next, as far as the queue reaches: a file has
// the last one that was told.
type alarmHook struct {
	monitor, url string
	path         string
	client       *http.Client
	log          *slog.Logger
	queue        chan console.AlarmChange
	counts       struct{ sent, failed, dropped atomic.Int64 }
}

const (
	// hookQueue bounds the changes that wait; what comes when it is full is dropped, and counted.
	hookQueue = 256
	// hookRounds are the rounds of attempts for one change, hookPause apart.
	hookRounds = 3
	hookPause  = 20 * time.Second
)

// newAlarmHook takes up where the last process was; changes are all there were.
func newAlarmHook(spec *monitorSpec, dir string, changes []console.AlarmChange, log *slog.Logger) (*alarmHook, error) {
	address, unset := fromEnvironment(spec.Alarms.Webhook)
	if len(unset) > 0 {
		return nil, fmt.Errorf("%s: monitors.%s.alarms.webhook: the environment has no %s", spec.File, spec.Name, strings.Join(unset, ", "))
	}
	if !monitor.IsWebhook(address) {
		return nil, fmt.Errorf("%s: monitors.%s.alarms.webhook: with the environment it is no address such as https://example.com/hook", spec.File, spec.Name)
	}
	h := &alarmHook{monitor: spec.Name, url: address, path: filepath.Join(dir, "told"), client: notify.Client(), log: log, queue: make(chan console.AlarmChange, hookQueue)}
	last, err := os.ReadFile(h.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range untold(changes, spec.Name, string(last)) {
		h.add(e)
	}
	return h, nil
}

// untold are the changes of a monitor after the last one that was told, the newest hookQueue
// of them. Where none was ever told, or it is too long ago, they are what is raised still: a
// new webhook hears no old stories.
func untold(changes []console.AlarmChange, name, last string) (waiting []console.AlarmChange) {
	found := false
	for i := range changes {
		e := &changes[i]
		if e.Monitor != name {
			continue
		}
		waiting = append(waiting, *e)
		switch {
		case hookKey(e) == last:
			waiting, found = nil, true
		case !found && e.Change == string(monitor.Cleared):
			waiting = slices.DeleteFunc(waiting, func(o console.AlarmChange) bool { return o.ID == e.ID })
		}
	}
	return waiting[max(0, len(waiting)-hookQueue):]
}

// hookKey names a change.
func hookKey(e *console.AlarmChange) string { return e.ID + " " + e.Change }

// add puts a change into the queue. It does not wait.
func (h *alarmHook) add(e console.AlarmChange) {
	select {
	case h.queue <- e:
	default:
		h.counts.dropped.Add(1)
		h.log.Error("an alarm is not told: too many wait for the webhook", "alarm", e.ID)
	}
}

// run tells until ctx ends.
func (h *alarmHook) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-h.queue:
			h.tell(ctx, &e)
		}
	}
}

func (h *alarmHook) tell(ctx context.Context, e *console.AlarmChange) {
	err := h.post(ctx, e)
	if ctx.Err() != nil {
		return // the next process tells it
	}
	if err != nil {
		h.counts.failed.Add(1)
		h.log.Error("an alarm was not told", "alarm", e.ID, "error", err)
	} else {
		h.counts.sent.Add(1)
	}
	if err := replaceSynced(h.path, []byte(hookKey(e))); err != nil {
		h.log.Error("an alarm may be told twice", "alarm", e.ID, "error", err)
	}
}

// post posts a change, in some rounds if need be.
func (h *alarmHook) post(ctx context.Context, e *console.AlarmChange) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	m := notify.Message{URL: h.url, Key: hookKey(e), Body: body}
	for round := 1; ; round++ {
		var said bytes.Buffer
		err := m.Post(ctx, h.client, &said)
		if err == nil || round == hookRounds || errors.Is(err, orchestrator.ErrPermanent) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(hookPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
