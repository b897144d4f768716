// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/millrace-ml/millrace/labeling"
)

// Model is what an ML backend asks; it is used by many goroutines.
type Model interface {
	// Version names the model that answers now.
	Version() string
	// Predict guesses at tasks, given by their data: one prediction for each, nil for none.
	Predict(ctx context.Context, c Config, data []json.RawMessage) ([]*labeling.Prediction, error)
	// Event is told what happened in Label Studio, as "ANNOTATION_CREATED", with the body of
	// the webhook.
	Event(ctx context.Context, action string, body json.RawMessage) error
}

// NewBackend serves the ML backend of Label Studio: POST /setup, /predict and /webhook, GET
// /health. Who may call it is for who mounts it to decide.
func NewBackend(m Model) http.Handler {
	b := &backend{m}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", b.health)
	mux.HandleFunc("GET /{$}", b.health)
	mux.HandleFunc("POST /setup", b.setup)
	mux.HandleFunc("POST /predict", b.predict)
	mux.HandleFunc("POST /webhook", b.webhook)
	return mux
}

type backend struct{ model Model }

func (b *backend) health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "UP", "model_class": "Millrace"})
}

func (b *backend) setup(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Schema string `json:"schema"`
	}
	if !request(w, r, &in) {
		return
	}
	if _, err := ParseConfig(in.Schema); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"model_version": b.model.Version()})
}

func (b *backend) predict(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Tasks []struct {
			Data json.RawMessage `json:"data"`
		} `json:"tasks"`
		LabelConfig string `json:"label_config"`
	}
	if !request(w, r, &in) {
		return
	}
	c, err := ParseConfig(in.LabelConfig)
	if err == nil && len(in.Tasks) > RequestTasksMax {
		err = fmt.Errorf("%w: %d tasks, at most %d are taken", ErrTooLarge, len(in.Tasks), RequestTasksMax)
	}
	data := make([]json.RawMessage, len(in.Tasks))
	for i := range in.Tasks {
		if data[i] = in.Tasks[i].Data; err == nil && (len(data[i]) == 0 || data[i][0] != '{') {
			err = fmt.Errorf("%w: tasks[%d].data: want an object", ErrFormat, i)
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	guesses, err := b.model.Predict(r.Context(), c, data)
	if err == nil && len(guesses) != len(data) {
		err = fmt.Errorf("the model gave %d predictions for %d tasks", len(guesses), len(data))
	}
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	results := make([]wirePrediction, len(guesses))
	for i, g := range guesses {
		results[i] = wirePrediction{ModelVersion: b.model.Version(), Result: []result{}}
		if g != nil {
			results[i] = c.prediction(g, c.textOf(data[i]))
		}
	}
	answer(w, http.StatusOK, map[string]any{"results": results, "model_version": b.model.Version()})
}

func (b *backend) webhook(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if !request(w, r, &body) {
		return
	}
	var in struct {
		Action string `json:"action"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Action == "" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%w: action is missing", ErrFormat))
		return
	}
	if err := b.model.Event(r.Context(), in.Action, body); err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// request reads a bounded JSON body, or answers what is wrong with it.
func request(w http.ResponseWriter, r *http.Request, into any) bool {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, RequestBytesMax))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("%w: a request has at most %d bytes", ErrTooLarge, RequestBytesMax))
		return false
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	return err == nil
}

// statusOf says whose fault an error of the model is.
func statusOf(err error) int {
	for _, theirs := range []error{ErrFormat, labeling.ErrInvalid, labeling.ErrInvalidValue, labeling.ErrConflict, labeling.ErrUnknownTask} {
		if errors.Is(err, theirs) {
			return http.StatusBadRequest
		}
	}
	return http.StatusInternalServerError
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, what any) {
	b, err := json.Marshal(what)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who asked is gone if this fails
}
