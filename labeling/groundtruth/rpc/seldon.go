// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// seldonFeedback is Seldon Core v1's Feedback, as far as it matters here: a client sends
// back the request and the response, and what it says about them.
type seldonFeedback struct {
	Request  *seldonMessage `json:"request"`
	Response *seldonMessage `json:"response"`
	Reward   *float64       `json:"reward"`
	Truth    *seldonMessage `json:"truth"`
}

type seldonMessage struct {
	Meta struct {
		PUID string `json:"puid"`
	} `json:"meta"`
	Data *struct {
		NDArray json.RawMessage `json:"ndarray"`
		Tensor  *struct {
			Values []float64 `json:"values"`
		} `json:"tensor"`
	} `json:"data"`
	StrData  *string         `json:"strData"`
	JSONData json.RawMessage `json:"jsonData"`
}

func (s *Service) seldonSubmit(w http.ResponseWriter, q *http.Request) {
	body, err := readBody(w, q)
	var items []groundtruth.Feedback
	if err == nil {
		items, err = s.fromSeldon(body)
	}
	if err != nil {
		writeSeldon(w, "", err)
		return
	}
	results, err := s.collector.Submit(q.Context(), items)
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	writeSeldon(w, items[0].PredictionID, err)
}

// writeSeldon answers a SeldonMessage.
func writeSeldon(w http.ResponseWriter, puid string, err error) {
	if err == nil {
		writeJSON(w, http.StatusOK, map[string]any{"meta": map[string]string{"puid": puid}})
		return
	}
	code := httpStatus(err)
	writeJSON(w, code, map[string]any{"status": map[string]any{"code": code, "info": err.Error(), "status": "FAILURE"}})
}

// fromSeldon makes an outcome of the truth and a reward of the reward. A reward of 0
// beside a truth is what clients send that know of none, and is left out.
func (s *Service) fromSeldon(body []byte) ([]groundtruth.Feedback, error) {
	var m seldonFeedback
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("%w: body: %w", groundtruth.ErrInvalid, err)
	}
	puid := ""
	for _, message := range []*seldonMessage{m.Request, m.Response} {
		if message != nil && message.Meta.PUID != "" {
			puid = message.Meta.PUID // that of the response, if they differ: it made the prediction
		}
	}
	if puid == "" {
		return nil, fmt.Errorf("%w: response.meta.puid: is required: the prediction id", groundtruth.ErrInvalid)
	}
	var items []groundtruth.Feedback
	base := groundtruth.Feedback{PredictionID: puid, Source: s.options.SeldonSource}
	if m.Truth != nil {
		value, err := m.Truth.value()
		if err != nil {
			return nil, err
		}
		truth := base
		truth.Name, truth.Kind, truth.Value = s.options.SeldonTruth, groundtruth.KindOutcome, value
		items = append(items, truth)
	}
	if m.Reward != nil && (*m.Reward != 0 || m.Truth == nil) {
		reward := base
		reward.Name, reward.Kind, reward.Value = s.options.SeldonReward, groundtruth.KindReward, groundtruth.Number(*m.Reward)
		items = append(items, reward)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%w: reward or truth: one is required", groundtruth.ErrInvalid)
	}
	return items, nil
}

// value is the one value of a message.
func (m *seldonMessage) value() (groundtruth.Value, error) {
	switch {
	case m.StrData != nil:
		return groundtruth.Class(*m.StrData), nil
	case len(m.JSONData) > 0:
		return scalar(m.JSONData, "truth.jsonData")
	case m.Data != nil && m.Data.Tensor != nil:
		if n := len(m.Data.Tensor.Values); n != 1 {
			return groundtruth.Value{}, fmt.Errorf("%w: truth.data.tensor: has %d values instead of 1", groundtruth.ErrInvalid, n)
		}
		return groundtruth.Number(m.Data.Tensor.Values[0]), nil
	case m.Data != nil && len(m.Data.NDArray) > 0:
		return scalar(m.Data.NDArray, "truth.data.ndarray")
	}
	return groundtruth.Value{}, fmt.Errorf("%w: truth: has none of data.ndarray, data.tensor, strData, jsonData", groundtruth.ErrInvalid)
}

// scalarDepthMax is how many lists a single value may stand in.
const scalarDepthMax = 8

// scalar is the one value in lists of one element.
func scalar(raw json.RawMessage, path string) (groundtruth.Value, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return groundtruth.Value{}, fmt.Errorf("%w: %s: %w", groundtruth.ErrInvalid, path, err)
	}
	for range scalarDepthMax {
		list, ok := v.([]any)
		if !ok || len(list) != 1 {
			break
		}
		v = list[0]
	}
	switch v := v.(type) {
	case bool:
		return groundtruth.Bool(v), nil
	case float64:
		return groundtruth.Number(v), nil
	case string:
		return groundtruth.Class(v), nil
	}
	return groundtruth.Value{}, fmt.Errorf("%w: %s: is not one number, bool or text", groundtruth.ErrInvalid, path)
}
