// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// Export writes all tasks of a project as Label Studio's JSON, with annotations, skips and
// predictions. A review is the last annotation. Memory does not grow with the project.
func Export(w io.Writer, s *labeling.Store, project string, c Config) error {
	p, err := s.Project(project)
	if err != nil {
		return err
	}
	if err := c.fits(&p); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	id := 0
	err = s.Each(project, func(v *labeling.TaskView) error {
		separator := ",\n"
		if id++; id == 1 {
			separator = "[\n"
		}
		rest, err := json.Marshal(c.wire(v, id))
		if err != nil {
			return err
		}
		// Data goes out byte by byte as it came in, which encoding/json would not do.
		for _, part := range []string{separator, `{"data":`, string(v.Task.Data), ",", string(rest[1:])} {
			if _, err := b.WriteString(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if id == 0 {
		end = "[]\n"
	}
	if _, err := b.WriteString(end); err != nil {
		return err
	}
	return b.Flush()
}

// exported is a task as it is written, but for its data.
type exported struct {
	ID          int               `json:"id"`
	Meta        map[string]string `json:"meta"`
	Annotations []wireAnnotation  `json:"annotations"`
	Predictions []wirePrediction  `json:"predictions"`
}

func (c *Config) wire(v *labeling.TaskView, id int) exported {
	text := c.textOf(v.Task.Data)
	out := exported{ID: id, Meta: map[string]string{"millrace_id": v.Task.ID, "status": string(v.Status)},
		Annotations: []wireAnnotation{}, Predictions: []wirePrediction{}}
	if v.Task.Gold != nil {
		out.Annotations = append(out.Annotations, wireAnnotation{Result: c.encode(v.Task.Gold, text), GroundTruth: true})
	}
	for i := range v.Annotations {
		a := &v.Annotations[i]
		if a.Kind == labeling.KindPostpone {
			continue
		}
		lead := a.Lead.Seconds()
		one := wireAnnotation{Result: []result{}, Annotator: a.Annotator, WasCancelled: a.Kind == labeling.KindSkip, LeadTime: &lead, CreatedAt: a.At.Format(time.RFC3339Nano)}
		if one.ID = numberOf(a.Comment); one.ID == 0 {
			one.Comment = a.Comment
		}
		if !one.WasCancelled {
			one.Result = c.encode(&a.Value, text)
		}
		out.Annotations = append(out.Annotations, one)
	}
	if g := v.Task.Prediction; g != nil {
		out.Predictions = append(out.Predictions, c.prediction(g, text))
	}
	return out
}

func (c *Config) prediction(g *labeling.Prediction, text string) wirePrediction {
	return wirePrediction{ModelVersion: versionOf(g), Score: &g.Score, Result: c.encode(&g.Value, text)}
}

// versionOf names model and version, as the backend does for predictions that it is asked
// for: Label Studio asks again for what another version guessed.
func versionOf(g *labeling.Prediction) string {
	if g.Model == foreignModel || g.Model == "" {
		return g.Version // as it came
	}
	return g.Model + "-" + g.Version
}
